"""imlkd: Integrated Multi-level Knowledge Distillation for small speaker-verification models."""

__version__ = "0.1.0"
