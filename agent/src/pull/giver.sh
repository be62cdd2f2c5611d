# shellcheck shell=sh disable=SC2034,SC2154 # $N comes from the command line, $E goes to digest
# What gives files away: a POSIX sh program, sent over the channel's standard input and evaluated there, so that the
# command line stays one constant. The choice of a digest tool stands before it, the very lines of hand.sh. It reads
# one verb a line, and names one a line; no byte of a name is ever parsed by a shell. It writes nothing, anywhere.
LC_ALL=C
export LC_ALL
unset CDPATH
E=/dev/null
ok() { printf '%s ok %s\n' "$N" "$*"; }
no() { printf '%s no %s\n' "$N" "$*"; }
# Ends what has no length of its own.
end() { printf '\n%s end\n' "$N"; }
decode() { case $1 in *\\*) X=$(printf '%bx' "$1") && X=${X%x} ;; *) X=$1 ;; esac; }
have() { command -v "$1" >/dev/null 2>&1; }
# Takes the next name; $X is then never an option.
name() { IFS= read -r L && decode "$L" && case $X in /*) ;; *) X=./$X ;; esac; }
is_readable() { [ -f "$X" ] && [ -r "$X" ]; }

verb_hello() {
  choose_digest
  if find / -maxdepth 0 -printf x >/dev/null 2>&1; then F='find'
  elif stat -c %f / >/dev/null 2>&1; then F=stat
  elif stat -f %p / >/dev/null 2>&1; then F=bsd
  else F='sh'; fi
  B=no
  have dd && B=yes
  ok "digest=$A list=$F dd=$B"
}

# For servers without stat: no times, and of the modes only x.
in_words() {
  # shellcheck disable=SC2016 # expanded by the inner shell
  find . -exec sh -c 'for f do
    if [ -L "$f" ]; then t=l s=0; elif [ -d "$f" ]; then t=d s=0
    elif [ -f "$f" ]; then t=f s=$(wc -c <"$f" | tr -d " "); else t=s s=0; fi
    m=644; [ -x "$f" ] && m=755
    printf "%s %s - %s %s\0" "$t" "${s:-0}" "$m" "$f"
  done' sh {} +
}

entries() {
  case $F in
    find) find . -printf '%y %s %T@ %m %p\0' ;;
    stat) find . -exec stat -c '%f %s %Y %n//' {} + ;;
    bsd) find . -exec stat -f '%p %z %m %N//' {} + ;;
    sh) in_words ;;
  esac
}

# One file that was named: a symlink is followed, as scp does.
entry() {
  case $F in
    find) find -H "$X" -maxdepth 0 -printf '%y %s %T@ %m .\0' ;;
    stat) stat -L -c '%f %s %Y .//' "$X" ;;
    bsd) stat -L -f '%p %z %m .//' "$X" ;;
    sh)
      M=644
      [ -x "$X" ] && M=755
      size "$X"
      printf 'f %s - %s .\0' "$Y" "$M"
      ;;
  esac
}

# What stands under a name, and everything below it.
verb_list() {
  name || return
  if [ -d "$X" ]; then
    (cd -- "$X" 2>/dev/null) || { no denied; return; }
    ok folder
    # What could not be looked into is told behind the list.
    { W=$( (cd -- "$X" && entries) 2>&1 >&3 3>&-); } 3>&1
  elif [ -f "$X" ]; then
    [ -r "$X" ] || { no denied; return; }
    ok file
    W=
    entry 2>/dev/null
  elif [ -e "$X" ]; then no special; return
  else no missing; return; fi
  end
  [ -z "$W" ] || printf '%s\n' "$W" | tail -n 20 | cut -c 1-300
  ok
}

# The content of so many files, one behind the other.
verb_send() {
  C=$1 I=0
  set --
  while [ "$I" -lt "$C" ] && name; do
    if is_readable; then set -- "$@" "$X"; else printf 'no %s\n' "$I"; fi
    I=$((I + 1))
  done
  ok
  [ $# = 0 ] || cat -- "$@" 2>/dev/null
  end
}

# So many blocks of 64 KiB of one file, after the first so many. part SKIPPED COUNT
verb_part() {
  name || return
  is_readable || printf 'no 0\n'
  ok
  dd if="$X" bs=65536 skip="$1" count="$2" 2>/dev/null
  end
}

# The digests of so many files; those with odd names by their number, for the tools escape such names.
verb_digests() {
  C=$1 I=0
  set --
  while [ "$I" -lt "$C" ] && name; do
    if ! is_readable; then printf 'no %s\n' "$I"
    else
      case $L in
        *\\*) digest "$X"; printf 'digest %s %s\n' "$I" "$V" ;;
        *) set -- "$@" "$X" ;;
      esac
    fi
    I=$((I + 1))
  done
  # shellcheck disable=SC2086 # a tool and its words
  [ $# = 0 ] || $T "$@" 2>/dev/null
  ok
}

# The digest of the first so many blocks of 64 KiB. prefix COUNT
verb_prefix() {
  name || return
  ok "$(dd if="$X" bs=65536 count="$1" 2>/dev/null | $T 2>/dev/null | cut -c 1-64)"
}

ok ready
while IFS= read -r L; do
  set -f
  # shellcheck disable=SC2086 # verbs and their words hold no blanks or patterns
  set -- $L
  set +f
  V=$1
  shift
  case $V in
    hello | list | send | part | digests | prefix) "verb_$V" "$@" ;;
    *) no unknown ;;
  esac
done
