# shellcheck shell=bash
# Turns the options of a script into its variables: source this after the defaults.
#
#   nj=4
#   force=false
#   help_message="usage: $0 [--nj <n>] [--force true|false] <data-dir>"
#   . utils/parse_options.sh
#
#   --foo-bar v    sets foo_bar (so does --foo_bar v); the variable has to exist before, and may be empty
#   --config FILE  sources FILE first, wherever among the options it stands: what is typed wins over what a file says
#   --help, -h     prints $help_message and ends with 0
# What FILE sets beside the options gets a warning. A variable whose default is true or false takes nothing else.
# The first argument that is not an option ends the list; it and what follows stay in $1, $2 ...
# Works under `set -euo pipefail`.

_po_fail() {
  echo "${0##*/}: $1" >&2
  exit 1
}

_po_list_booleans() {
  local variable
  while read -r variable; do
    case ${!variable-} in true | false) echo "$variable" ;; esac
  done < <(compgen -v)
}

_po_require_boolean() { # <variable> <value> <where it was set>
  case $2 in true | false) ;; *) _po_fail "$3 takes true or false, not '$2'" ;; esac
}

_po_check_config_file() {
  [ -n "$1" ] || _po_fail "--config needs a file name"
  if ! [ -f "$1" ] || ! [ -r "$1" ]; then _po_fail "--config $1: no such file, or not readable"; fi
  if grep -q $'\r$' "$1"; then
    _po_fail "--config $1:$(grep -n -m 1 $'\r$' "$1" | cut -d: -f1): DOS line end, save it with Unix line ends"
  fi
}

for ((_po_position = 1; _po_position <= $#; _po_position += 2)); do
  case ${!_po_position} in
    --config)
      _po_next=$((_po_position + 1))
      _po_config=${!_po_next-}
      _po_check_config_file "$_po_config"
      case $_po_config in */*) ;; *) _po_config=./$_po_config ;; esac
      _po_booleans=$(_po_list_booleans)
      _po_known=" $(compgen -v | tr '\n' ' ')"
      # shellcheck source=/dev/null
      . "$_po_config"
      for _po_variable in $_po_booleans; do
        _po_require_boolean "$_po_variable" "${!_po_variable-}" "$_po_config: $_po_variable"
      done
      for _po_variable in $(compgen -v | grep '^[a-z]'); do
        case $_po_known in *" $_po_variable "*) ;; *)
          echo "${0##*/}: warning: $_po_config sets '$_po_variable', which is no option of this script" >&2
          ;;
        esac
      done
      ;;
    --help | -h | --*=*) break ;;
    --?*) ;;
    *) break ;;
  esac
done

while [ $# -gt 0 ]; do
  case $1 in
    --help | -h)
      printf '%b\n' "${help_message:-${0##*/}: no help is written for this script}"
      exit 0
      ;;
    --*=*) _po_fail "'$1': an option is written with a space, ${1%%=*} ${1#*=}" ;;
    --*)
      _po_variable=${1#--}
      _po_variable=${_po_variable//-/_}
      if [ "$1" != --config ]; then
        if ! [[ $_po_variable =~ ^[A-Za-z][A-Za-z0-9_]*$ ]] || [ -z "${!_po_variable+x}" ] ||
          [[ $(declare -p "$_po_variable") =~ ^declare\ -[a-zA-Z]*r ]]; then
          _po_fail "invalid option $1${help_message:+, see ${0##*/} --help}"
        fi
      fi
      [ $# -ge 2 ] || _po_fail "option $1 needs a value"
      if [ "$1" = --cmd ] && [ -z "$2" ]; then
        _po_fail "empty argument to --cmd, name a job runner such as run.pl"
      fi
      case ${!_po_variable-} in true | false) _po_require_boolean "$_po_variable" "$2" "option $1" ;; esac
      if [ "$1" != --config ] || [ -n "${config+x}" ]; then
        printf -v "$_po_variable" %s "$2"
      fi
      shift 2
      ;;
    *) break ;;
  esac
done

unset -f _po_fail _po_list_booleans _po_require_boolean _po_check_config_file
unset _po_position _po_next _po_config _po_booleans _po_known _po_variable
true
