"""What this machine and this environment can do, what would fail, and the remedy. Needs the base dependencies only."""
