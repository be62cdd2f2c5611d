# shellcheck shell=sh disable=SC2015,SC3013 # `a && b || c`: c is meant for both; -ef: POSIX since 2024, everywhere before
# skiff's hand at the destination: a POSIX sh program, sent over the channel's standard input and evaluated there, so
# that the command line stays one constant. It reads one verb a line. Paths come as printf %b escapes, so that no
# byte of a name is ever parsed by a shell. Each answer ends with "NONCE ok …" or "NONCE no WHY …".
# It never writes but below $D/.skiff until `publish`, `place`, `replace`, `extend`, `cut` and `rename`, but for folders: `root`
# makes $D, `folders` those that are asked for. In a folder on another file system those verbs have .skiff-NONCE for a moment.
# Where the server confines the key to a folder (packaging/server/skiff-shell runs this very program then), $SKIFF_BELOW is
# that folder, and whoever speaks is not trusted.
LC_ALL=C
export LC_ALL
# Names of one letter, from beginning to end of a session: A the kind of digest and T the tool for it; D the folder; E what a tool
# says; M the mark that ends FOLLOWER; N the nonce; P the staging. What functions bring back: V a digest, W a reason, X a path,
# Y a size. B, C, R walk along a path. F and O are what gets a name, and the name; C what lies beside it, H what is held. Q is
# whoever's comes next, as is any other letter within one function: no function that it calls has it.
# Nothing that the login's environment happens to hold is taken for our own.
unset A B BESIDE C F FAR FOLLOWER G GIVEN H HAS_LINKS IN K L LINE M MOUNT NEAR O OMIT Q R S SYNC T U V VIA W X Y Z CDPATH
# Until `root` and `open` say so.
D='' P=.skiff/none E=/dev/null
ok() { printf '%s ok %s\n' "$N" "$*"; }
no() { printf '%s no %s\n' "$N" "$*"; }
# Whether this shell stands in the folder that has the name it was sent to: a disk may have been mounted there since, or another
# folder put there.
is_here() { [ . -ef "$GIVEN" ]; }
# So many bytes are read before the answer comes: whoever waits knows only of his own file how long that may take.
reads() { printf '%s reads %s\n' "$N" "$1"; }
# What was published counts only there; nothing more is done elsewhere.
ok_here() { if is_here; then ok "$@"; else no moved; OVER=yes; fi; }
# The last words of a failed tool, on one line.
last_words() { tail -n 1 | tr -d '\r' | cut -c 1-300; }
why() { last_words 2>/dev/null <"$E"; }
decode() { case $1 in *\\*) X=$(printf '%bx' "$1") && X=${X%x} ;; *) X=$1 ;; esac; }
# As decode, for a path below the destination's folder.
inner() { decode "$1"; stays "$X"; }
# Nobody who has such a path to send is our own agent.
stays() { case /$1/ in */../*) no outside; exit 1 ;; esac; }
have() { command -v "$1" >/dev/null 2>&1; }

# Of a line that says abc.
sha_of_abc=edeaaff3f1774ad2888673770c6d64097e391bc362d7d6fb34982ddf0efd18cb
b3_of_abc=aa95faeede7041e63c6056bdcf10e6fbf709a355e539259da51a067e5dd27802
# Takes the digest tool of that name.
takes() {
  case $1 in
    b3sum) A=blake3 T=b3sum ;;
    openssl) A=sha256 T='openssl dgst -sha256 -r' ;;
    sha256sum) A=sha256 T=sha256sum ;;
    shasum) A=sha256 T='shasum -a 256' ;;
    busybox) A=sha256 T='busybox sha256sum' ;;
    *) A=none T=none ;;
  esac
}
# One counts when it computes a digest that is known.
choose_digest() {
  for Q in b3sum openssl sha256sum shasum busybox; do
    have "$Q" || continue
    takes "$Q"
    if [ "$A" = blake3 ]; then W=$b3_of_abc; else W=$sha_of_abc; fi
    # shellcheck disable=SC2086 # a tool and its words
    V=$($T 2>/dev/null <<X
abc
X
)
    case $V in "$W"*) return ;; esac
  done
  takes none
}
# Into V and into Y, since a process costs more than a small file.
digest() { V=$($T < "$1" 2>"$E"); V=${V%% *}; }
# busybox' wc reads a file to its end.
size() {
  set -f
  # shellcheck disable=SC2046 # words, of which the fifth is the size; those of the name come last
  set -- "$1" $(ls -dnL "$1" 2>/dev/null)
  set +f
  Y=$6
  case $Y in '' | *[!0-9]*) Y=$(wc -c 2>/dev/null < "$1"); Y=${Y##* } ;; esac
} 2>/dev/null

is_full() {
  printf '%8192s' x 2>/dev/null >"$P/probe.$N"
  size "$P/probe.$N"
  rm -f "$P/probe.$N"
  [ "$Y" != 8192 ]
} 2>/dev/null

# As digest, where a file of ours has a mode by which nobody may read it.
digest_ours() {
  if [ -r "$1" ] || ! chmod u+r "$1" 2>/dev/null; then digest "$1"; else digest "$1"; chmod u-r "$1"; fi
}

sync_all() { if [ "$SYNC" = fs ]; then sync -f "$1" 2>"$E"; else sync 2>"$E"; fi; }

# Makes the folder $1 of a final name, one component after the other; a symlink on the way is never followed.
make_folder() {
  B=.
  R=$1/
  while [ -n "$R" ]; do
    C=${R%%/*}
    R=${R#*/}
    [ -n "$C" ] && [ "$C" != . ] || continue
    B=$B/$C
    if [ -L "$B" ]; then W="symlink $B"; return 1; fi
    [ -d "$B" ] || mkdir -- "$B" 2>"$E" || [ -d "$B" ] || { W="folder $(why)"; return 1; }
  done
}

# What stands under $1, before something is put there.
standing() {
  if [ -L "$1" ]; then no symlink
  elif [ -d "$1" ]; then no isfolder
  elif [ -f "$1" ]; then size "$1"; reads "$Y"; digest_ours "$1"; no exists "$Y $V"
  elif [ -e "$1" ]; then no special
  else return 1; fi
}

staged_ok() { case $1 in *[!0-9a-f-]* | '') return 1 ;; esac; }

# Whether no symlink is on the way $1 out of the folder that confines us.
reaches() {
  [ -n "$SKIFF_BELOW" ] || return 0
  B=.
  R=$1/
  while [ -n "$R" ]; do
    B=$B/${R%%/*}
    R=${R#*/}
    [ ! -L "$B" ] || return 1
  done
}

# Enters the folder $X, which is $SKIFF_BELOW or in it, by no symlink; a relative one is below it.
enter_below() {
  stays "$X"
  case $X/ in
    "$SKIFF_BELOW"/*) X=${X#"$SKIFF_BELOW"} ;;
    /*) no root "this key may only deliver below $SKIFF_BELOW"; exit 1 ;;
  esac
  cd -- "$SKIFF_BELOW" && make_folder "$X" || { no root "cannot make it below $SKIFF_BELOW: $W"; return 1; }
  X=./$X
}

# What else forbids to write in the folder $1, where its modes would allow it.
policy() {
  [ "$(getenforce 2>/dev/null || /usr/sbin/getenforce 2>/dev/null)" = Enforcing ] || return 0
  case $1 in -*) set -- "./$1" ;; esac
  [ -z "$(find "$1" -prune -user "$(id -u)" -perm -200 2>/dev/null)" ] || printf ' (the modes allow it, but SELinux enforces its rules there)'
}

verb_root() {
  decode "$1"
  if [ -n "$SKIFF_BELOW" ]; then enter_below || return; fi
  case $X in */*) Q=${X%/*} ;; *) Q=. ;; esac
  [ -d "$X" ] || W=$(mkdir -p -- "$X" 2>&1) || { no root "$W$(policy "${Q:-/}")"; return; }
  case $X in /*) GIVEN=$X ;; *) GIVEN=$PWD/$X ;; esac
  cd -P -- "$X" 2>/dev/null || { no root "cannot enter it: permission denied"; return; }
  D=$PWD
  [ -L .skiff ] && { no root ".skiff is a symlink"; return; }
  [ -d .skiff ] || W=$(mkdir -m 700 .skiff 2>&1) || [ -d .skiff ] || { no root "$W$(policy .)"; return; }
  E=$D/.skiff/.errors-$N HAS_LINKS=''
  true >"$E" 2>/dev/null || {
    # By another program, for a shell's own words may be less exact.
    W=$( { printf abc | cat >"$E"; } 2>&1)
    E=/dev/null
    no root "cannot write in .skiff: ${W##*: }$(policy .skiff)"
    return
  }
  SYNC=all
  # Whether it can sync one file system; one of devices has nothing to write.
  sync -f /dev/null 2>/dev/null && SYNC=fs
  choose_digest
  S='' K=no G=no Y=no Z=no
  have scp && S=scp
  have tar && K=tar
  have gzip && Y=yes
  have zstd && Z=yes
  # The first line will do, however many there are.
  find . ! -name . -prune ! -name .skiff 2>/dev/null | { IFS= read -r Q; } && G=yes
  R=no
  [ -z "$SKIFF_BELOW" ] && [ "$(id -u 2>/dev/null)" = 0 ] && R=yes
  room
  ok "digest=$A scp=${S:-no} tar=$K gzip=$Y zstd=$Z sync=$SYNC used=$G root=$R free=$V all=$W"
}

# The free and all space here, in KiB, where df tells: V and W.
room() {
  W=$(df -Pk . 2>/dev/null)
  # The fourth and the second word of the second line.
  set -f
  # shellcheck disable=SC2086 # words
  set -- ${W#*"
"}
  set +f
  V=$4 W=$2
}
verb_free() { room; ok "$V $W"; }

# Makes the staging $1 this shell's own, under a name that only this shell knows. Another one, whose user has gone, may
# still be busy with it; it then finds nothing, and so never publishes what is only half written again.
adopt() {
  P=.skiff/$1.$N NEAR='' OMIT=''
  if [ -d "$P" ] && [ ! -L "$P" ]; then return; fi
  for Q in ".skiff/$1".*; do
    if [ -d "$Q" ] && [ ! -L "$Q" ] && mv -- "$Q" "$P" 2>"$E"; then clear_beside; return; fi
  done
  return 1
}

# Makes a folder of our own, $BESIDE, in the folder $1 of final names. What is brought to another file system lies there until it
# is whole. Staging holds a note of it, so that it goes with that, whoever clears it.
open_beside() {
  BESIDE=$1/.skiff-$N
  { printf %s "$BESIDE" >"$P/beside" && rm -rf "$BESIDE" && mkdir -m 700 "$BESIDE"; } 2>"$E"
}
close_beside() { rm -rf "$BESIDE" && rm -f "$P/beside"; }

# Clears the one that the staging $P has a note of. Who is confined may have written that note.
clear_beside() {
  [ -f "$P/beside" ] || return 0
  BESIDE=$(cat "$P/beside")
  case ${BESIDE##*/} in
    .skiff-*[!0-9a-f]* | .skiff-) ;;
    .skiff-*) case /$BESIDE/ in */../*) ;; *) if reaches "$BESIDE"; then rm -rf "./$BESIDE"; fi ;; esac ;;
  esac
  rm -f "$P/beside"
}

# Prepares staging: empty, or with what a shipment that was cut left there, whose length and digest are told.
# open ID [fresh | unread]; unread: kept, but not told
verb_open() {
  staged_ok "$1" || { no bad; return; }
  follow_no_more
  if ! adopt "$1"; then
    mkdir -m 700 "$P" 2>"$E" && ok 0 || no stage "$(why)"
    return
  fi
  if [ "$2" != fresh ]; then
    # A segment that was cut is part of what is there; a crash in between is caught by the digest of the prefix.
    # What is added to is written to, whatever the source's mode is.
    if [ -f "$P/part" ] && ! { [ -r "$P/part" ] && [ -w "$P/part" ]; }; then chmod u+rw "$P/part"; fi 2>/dev/null
    join && for Q in "$P/in.$Y" "$P/in.$Y".*; do [ ! -f "$Q" ] || append "$Q"; done
  fi
  rm -rf "$P"/in.* "$P"/at.* "$P"/packed.* "$P/m" "$P/copy" "$P/names" "$P/whole" "$P/sum" "$P/held"
  if [ "$2" = fresh ] || [ ! -s "$P/part" ]; then rm -f "$P/part"; ok 0
  elif [ "$2" = unread ]; then ok
  else size "$P/part"; reads "$Y"; digest "$P/part"; ok "$Y $V"; fi
}

# Goes on with a shipment that `open` prepared. use ID
verb_use() {
  staged_ok "$1" || { no bad; return; }
  if adopt "$1"; then ok; else no gone; fi
}

# Works beside the shell whose nonce is $2 on a shipment. enter ID NONCE
verb_enter() {
  staged_ok "$1-$2" || { no bad; return; }
  P=.skiff/$1.$2
  if [ -d "$P" ] && [ ! -L "$P" ]; then ok; else no gone; fi
}

# Puts what a file holds, packed or not, to what is there; its time is the source's.
append() {
  unpacked "$1" 2>"$E" >>"$P/part" || return
  touch -r "$1" "$P/part" 2>/dev/null
  rm -f "$1"
}

# Puts the segments that follow what is there to it, each named by the offset of its first byte; then Y is the length.
join() {
  while size "$P/part"; Q=$P/at.$Y; do
    if [ -f "$Q" ]; then :
    elif [ -f "$Q.zst" ]; then Q=$Q.zst
    elif [ -f "$Q.gz" ]; then Q=$Q.gz
    else return 0; fi
    append "$Q" || return 1
  done
}

# Nobody is followed twice, so that at most one reads beside this shell.
follow_no_more() {
  [ -n "$FOLLOWER" ] || return 0
  # Without its mark it would be waited for in vain.
  { true >"$M" || kill "$FOLLOWER"; wait "$FOLLOWER"; } 2>/dev/null
  FOLLOWER=''
}

# Has the digest of what is received read while the rest comes, unless that is quick afterwards.
verb_follow() {
  follow_no_more
  if [ "$A" = sha256 ]; then
    M=$P/whole
    rm -f "$M"
    (
      while [ -d "$P" ] && kill -0 $$ && [ ! -e "$P/part" ] && [ ! -e "$M" ]; do sleep 0.1 || sleep 1; done
      exec 3<"$P/part"
      while [ -d "$P" ] && kill -0 $$ && [ ! -e "$M" ]; do cat <&3; sleep 0.1 || sleep 1; done
      cat <&3
    ) 2>/dev/null </dev/null | $T >"$P/sum" 2>/dev/null &
    FOLLOWER=$!
  fi
  ok
}

# What stands under a final name, with that name. sync FINAL
verb_sync() {
  inner "$1"; O=./$X
  # Its folder: itself it may have been fetched away, or be nobody's to open.
  if sync_all "${O%/*}"; then ok_here; else no sync "$(why)"; fi
}

# What was received on a disk that is full then would keep it full. After a transfer that failed, nobody knows how much
# of the file is still to come, and none of it may be taken for a verb.
verb_recv() {
  if scp -qt "$P/$1" 2>"$E"; then
    case $1 in in.*) mv -f -- "$P/$1" "$P/at.${1#in.}" 2>"$E" || { no recv "$(why)"; return; } ;; esac
    ok
    return
  fi
  W=$(why)
  is_full && rm -rf "$P"
  no recv "$W"
  OVER=yes
}

verb_join() { if join; then ok "$Y"; else no join "$(why)"; fi; }

# A digest is of what is on the disk: what was verified has to outlive a power cut before it is published.
verb_digest() {
  sync_all "$P/part" || { no sync "$(why)"; return; }
  V=''
  # It may have followed what is received in another staging.
  if [ -n "$FOLLOWER" ] && [ "$M" = "$P/whole" ]; then
    follow_no_more
    V=$(cut -c 1-64 "$P/sum" 2>/dev/null)
    rm -f "$M" "$P/sum"
  fi
  [ ${#V} = 64 ] || digest "$P/part"
  if [ ${#V} = 64 ]; then ok "$V"; else no digest "$(why)"; fi
}

# Puts a received file where `unpack` would have put it, and tells its digest. member TOKEN PATH
verb_member() {
  inner "$2"
  W=m/$X
  mkdir -p -- "$P/${W%/*}" 2>"$E" && mv -f -- "$P/$1" "$P/$W" 2>"$E" || { no member "$(why)"; return; }
  sync_all "$P/$W" || { no sync "$(why)"; return; }
  digest "$P/$W"
  ok "$V"
}

# Copies what stands under a final name to where it would lie if it had been received, if it has the digest that is expected: what
# lies there already is of more use than anything else. As with what is received, the umask holds. copy FINAL STAGED MODE TIME DIGEST
verb_copy() {
  inner "$1"; O=$X
  inner "$2"; W=$P/$X
  case $3 in *[!0-7]* | '') no bad; return ;; esac
  [ -f "./$O" ] && [ ! -L "./$O" ] && reaches "$O" || { no gone; return; }
  # By now it may be any file.
  size "./$O"; reads "$Y"; reads "$Y"
  C=$P/copy
  if cp -- "./$O" "$C" 2>"$E" && TZ=UTC0 touch -t "$4" "$C" 2>"$E" && sync_all "$C"; then
    digest "$C"
    if [ "$V" != "$5" ]; then rm -f "$C"; no changed; return; fi
    if mkdir -p -- "${W%/*}" 2>"$E" && chmod "$(printf %o "$((0$3 & ~0$(umask)))")" "$C" 2>"$E" && mv -f -- "$C" "$W" 2>"$E"; then
      ok
      return
    fi
  fi
  V=$(why)
  rm -f "$C"
  no copy "$V"
}

# Gives staged files an owner, by number. own UID:GID STAGED...
verb_own() {
  [ -z "$SKIFF_BELOW" ] || { no own "a confined key gives nothing away"; return; }
  case $1 in *[!0-9:]* | '') no bad; return ;; esac
  if on_staged chown "$@"; then ok; else no own "$(why)"; fi
}

# Takes from the owner of staged files, when they were read, what the source's mode lacks; as long as they were staged he had to
# write and read them. FAT has no modes. lacks u-r|u-w|u-rw STAGED...
verb_lacks() {
  case $1 in u-r | u-w | u-rw) ;; *) no bad; return ;; esac
  on_staged chmod "$@"
  ok
}

# Runs the tool $1 with the word $2 on staged files.
on_staged() {
  Q=$1 W=$2
  shift 2
  for L; do
    shift
    inner "$L"
    set -- "$@" "$P/$X"
  done
  "$Q" "$W" "$@" 2>"$E"
}

# What a received file held before it was packed.
unpacked() {
  case $1 in
    *.zst) zstd -qdc <"$1" ;;
    *.gz) gzip -dc <"$1" ;;
    *) cat "$1" ;;
  esac
}

# Moves the batch $1 to where nobody else can name it, so that it stays as it is looked at: $H. It may hold files and
# folders below here, and nothing else. What else goes wrong is told in W, not by way of a file: the disk may be full.
copy_plain_batch() {
  H=$(mktemp .skiff/_XXXXXXXXXX 2>&1) || { W=$H; return 1; }
  W=$({ unpacked "$1" >"$H"; } 2>&1) || return
  W=''
  # Before there is a third of it, unpacked.
  rm -f "$1"
  case $(tar -tvf "$H" 2>/dev/null | cut -c 1 | sort -u | tr -d '\n') in
    - | d | -d | d-) ;;
    *) return 1 ;;
  esac
  ! tar -tf "$H" 2>/dev/null | grep -qE '^/|(^|/)\.\.(/|$)'
}

# Unpacks the batch $1, which nobody here trusts, to what lies there already, such as copies; and lets it be seen once it
# is known to be plain: some tars list a hard link as a file, and make it to anywhere.
unpack_plainly() {
  copy_plain_batch "$1" || return
  G=$(mktemp -d .skiff/_XXXXXXXXXX 2>&1) || { W=$G; return 1; }
  if [ -d "$P/m" ]; then W=$(mv -- "$P/m" "$G/m" 2>&1); else W=$(mkdir -m 700 "$G/m" 2>&1); fi && {
    tar -xof "$H" -C "$G/m" 2>"$E" || printf 'tar %s\n' "$(why)"
    L=$(find "$G/m" ! -type d \( ! -type f -o -links +1 \) 2>/dev/null) && [ -z "$L" ] &&
      W=$(mv -- "$G/m" "$P/m" 2>&1) && rm -rf "$G" && return
  }
  rm -rf "$G"
  return 1
}

# Unpacks a batch and tells the digest of each member. unpack TOKEN
verb_unpack() {
  H=$P/$1
  if [ -n "$SKIFF_BELOW" ]; then
    unpack_plainly "$H" || {
      rm -f "$H" "$P/$1"
      no unpack "$(printf '%s\n' "${W:-not a batch of plain files}" | last_words)"
      return
    }
  else
    [ -d "$P/m" ] || mkdir -m 700 "$P/m" 2>"$E" || { no unpack "$(why)"; return; }
    case $H in
      *.zst | *.gz) unpacked "$H" 2>"$E" | tar -xof - -C "$P/m" 2>"$E" ;;
      *) tar -xof "$H" -C "$P/m" 2>"$E" ;;
    esac || printf 'tar %s\n' "$(why)"
  fi
  rm -f "$H"
  sync_all "$P/m" || { no sync "$(why)"; return; }
  # shellcheck disable=SC2086 # a tool and its words
  (cd "$P/m" && find . -type f -exec $T {} + 2>/dev/null)
  ok
}

# Sets Q to the first folder on the way $1 that is not there, and B to the one that would hold it.
missing() {
  B=. Q='' R=$1/
  while [ -n "$R" ]; do
    C=${R%%/*}
    R=${R#*/}
    [ -n "$C" ] && [ "$C" != . ] || continue
    Q=${Q:+$Q/}$C
    if [ -L "./$Q" ]; then return 1; fi
    if [ ! -d "./$Q" ]; then [ ! -e "./$Q" ]; return; fi
    B=./$Q
  done
  return 1
}

# Whether a folder that was made in staging is as one made in $1: the same file system, no group or access list to inherit.
inherits_nothing() {
  # shellcheck disable=SC2012 # it is about modes
  case $(ls -ld -- "$1" 2>/dev/null) in d?????[sS]* | d?????????+*) return 1 ;; d*) ;; *) return 1 ;; esac
  takes_renames "$1"
}

# Whether these are on the file system that staging is on.
is_near() { is_one_disk .skiff "$@"; }
# Whether these are on one file system, as far as df tells: subvolumes and bound folders are others.
is_one_disk() {
  W=$(df -P "$@" 2>/dev/null) || return 1
  W=${W#*"
"}
  MOUNT=''
  # Where it is mounted stands behind the percentage.
  while IFS= read -r LINE; do
    case $MOUNT in '') MOUNT=${LINE#*% } ;; "${LINE#*% }") ;; *) return 1 ;; esac
  done <<X
$W
X
}

# Whether what is staged gets into the folder $1 by a rename. To another file system `mv` copies, and that into the final name.
takes_renames() {
  [ "$NEAR" != "$1" ] || return 0
  is_near "$1" || return 1
  # On one file system a quota may keep files in a folder.
  if [ "$1" != . ] && links; then
    open_beside "$1" || return 1
    if ln -- "$E" "$BESIDE/link" 2>/dev/null; then NEAR=$1; fi
    close_beside
    [ "$NEAR" = "$1" ] || return 1
  fi
  NEAR=$1
}

# Gives staged folders, with all that is in them, the places where nothing stands: many by one process, not one each. A
# rename replaces nothing that holds anything, and follows no symlink. What it refuses is linked.
move_folders() {
  G='' O='' S=''
  while IFS= read -r L; do
    inner "$L"
    missing "$X" && [ "$Q" != "$O" ] && [ "$B" != "$S" ] || continue
    O=$Q
    if [ "$B" != "$G" ] || [ $# -ge 200 ]; then
      [ $# = 0 ] || mv -f -- "$@" "$G/" 2>/dev/null
      set --
      if [ "$B" != "$G" ]; then
        G=$B
        inherits_nothing "$G" || { S=$G G=''; continue; }
      fi
    fi
    set -- "$@" "$P/m/$Q"
  done <"$P/folders"
  [ $# = 0 ] || mv -f -- "$@" "$G/" 2>/dev/null
}

# Whether hard links are made here, and what `ln` says is true. Asked beforehand: what was linked may be fetched away at once,
# so nobody can look at it afterwards. A disk may be full for a moment, so it is only a yes that holds.
links() {
  [ "$HAS_LINKS" != yes ] || return 0
  # Another shell may have swept it.
  [ -f "$E" ] || true >"$E"
  makes_links "$E" && HAS_LINKS=yes
}
makes_links() {
  ln -- "$1" "$1.link" 2>/dev/null || return
  if [ "$1" -ef "$1.link" ]; then rm -f "$1.link"; else rm -f "$1.link"; return 1; fi
}

# Gives files their names in the folder $O, many by one process, and takes those they have here away at once: what has its
# name there may be fetched away, and what stays here is what is left. One name that is taken there would make the `ln` of
# many fail, after it has linked the others: such are left out, as are those in $OMIT, which has them with $IN before. Where
# $VIA is a folder on the file system of $O, it is copies there that get the names, when they are on its disk and were read
# again. $U is there afterwards if some were not linked.
# shellcheck disable=SC2016 # for the shells that find starts
LINK='
is_taken() { [ -e "$O$1" ] || [ -L "$O$1" ] || case $OMIT in *"//$IN${1#./}//"*) ;; *) false ;; esac; }
bring() {
  cp -p -- "$@" "$VIA" && if [ "$SYNC" = fs ]; then sync -f "$VIA"; else sync; fi &&
    [ "$($T "$@")" = "$(cd "$VIA" && $T "$@")" ] && (cd "$VIA" && ln -- "$@" "$O")
}
link() { [ $# = 0 ] || { if [ -n "$VIA" ]; then bring "$@"; else ln -- "$@" "$O"; fi && rm -f -- "$@"; } || true >"$U"; }
ALL=yes
for F; do if is_taken "$F"; then ALL=no; break; fi; done
if [ "$ALL" = yes ]; then link "$@"; exit; fi
for F; do
  [ "$ALL" = yes ] || { set --; ALL=yes; }
  is_taken "$F" || set -- "$@" "$F"
  [ $# -lt 100 ] || { link "$@"; set --; }
done
link "$@"'

# Members that the next `publish` is to leave, one a line up to a "/". They are known by their names as find tells them: where names
# that differ by case are one, such a name may lead to a file that has another. omit
verb_omit() {
  OMIT=//
  while IFS= read -r L && [ "$L" != / ]; do
    inner "$L"
    OMIT=$OMIT$X//
  done
  ok
}

# Gives the members in the folder $F their names there, by way of the folder $1, if it says one.
link_members() {
  # Not as one of its words, for find takes none but its own {}.
  (O=$D/$F/ U=$D/$P/unlinked VIA=$1 IN=''; [ "$F" = . ] || IN=$F/; export IN O OMIT SYNC T U VIA; cd "$P/m/$F" && exec find . ! -name . -prune -type f -exec sh -c "$LINK" sh {} + 2>/dev/null)
}

# As link_members, to another file system. Without a digest tool, or hard links there, all are left and placed one by one.
bring_members() {
  [ "$A" != none ] && open_beside "./$F" || return 0
  true >"$BESIDE/link" && makes_links "$BESIDE/link" && rm "$BESIDE/link" && link_members "$D/$BESIDE/"
  close_beside
  sync_all "./$F"
}

# Brings every staged member of a batch under its final name, folder by folder, and names those that are left. With none
# left, nothing staged is of use any longer, and it goes.
verb_publish() {
  while IFS= read -r L && [ "$L" != / ]; do printf '%s\n' "$L"; done >"$P/folders" || {
    # What was not read is no verb.
    no publish "cannot list the folders"
    OVER=yes
    return
  }
  # Folders of somebody who is confined have modes that nobody looked at.
  [ -n "$SKIFF_BELOW$OMIT" ] || move_folders
  while IFS= read -r L; do
    inner "$L"
    F=$X
    [ -d "$P/m/$F" ] || continue
    make_folder "$F" || { printf 'folder %s %s\n' "$F" "$W"; continue; }
    links || continue
    rm -f "$P/unlinked"
    link_members ''
    [ ! -e "$P/unlinked" ] || takes_renames "./$F" || bring_members || { no sync "$(why)"; return; }
  done <"$P/folders"
  # Of many of which one could not be linked, those whose link was made have two names; with hard links denied, all are left
  # and placed one by one.
  L=$(cd "$P/m" && find . -type f -links 1 2>"$E") || { no publish "$(why)"; return; }
  sync_all . || { no sync "$(why)"; return; }
  if ! is_here; then ok_here
  elif [ -n "$L" ]; then printf '%s\n' "$L"; ok
  elif rm -rf "$P"; then ok cleared
  else ok; fi
}

# Brings one staged file under one final name. place STAGED FINAL
verb_place() {
  inner "$1"; F=$P/$X
  inner "$2"; O=./$X
  case $O in ./*/*) make_folder "${X%/*}" || { no folder "$W"; return; } ;; esac
  [ -f "$F" ] || { no gone; return; }
  standing "$O" && return
  true >"$E"
  if links && ln -- "$F" "$O" 2>"$E"; then linked "$F" || return
  elif standing "$O"; then return
  elif is_beside "${O%/*}"; then renamed "$F" || return
  else
    bring || { no place "$W"; return; }
    if makes_links "$C" && ln -- "$C" "$O" 2>"$E"; then linked "$C"
    elif standing "$O"; then false
    else renamed "$C"; fi
    Q=$?
    close_beside
    [ "$Q" = 0 ] || return
  fi
  sync_all "${O%/*}" || { no sync "$(why)"; return; }
  # One that travelled alone leaves nothing of use in its staging.
  if is_here && [ "$F" = "$P/part" ] && rm -rf "$P"; then ok cleared; else ok_here; fi
}

# Whether the folder $1, into which `ln` made no link, is on the file system of staging.
is_beside() { case $(why) in *ross-device*) return 1 ;; esac; is_near "$1"; }

# A link replaces nothing, so it stands there, whatever somebody has done with it since; or a folder took the name, and holds it.
linked() {
  [ -d "$O" ] || return 0
  Q=$O/${1##*/}
  [ ! "$1" -ef "$Q" ] || rm -f -- "$Q"
  no place "a folder appeared"
  return 1
}

# Where no link could be made (FAT has none), $1 is renamed to $O, if still nothing is there.
renamed() {
  mv -n -- "$1" "$O" 2>"$E" || { no place "$(why)"; return 1; }
  [ -f "$1" ] || return 0
  standing "$O" || no place "$(why)"
  return 1
}

# Brings what is staged as $F to the file system of $O, as $C beside it: on the disk, and read again, for it was written again.
bring() {
  C='' S=''
  [ -r "$F" ] || { chmod u+r "$F" 2>/dev/null && S=u-r; }
  if open_beside "${O%/*}"; then
    C=$BESIDE/new
    # To copy it, and both to compare them.
    size "$F"; reads "$Y"; reads "$Y"; reads "$Y"
    { cp -p -- "$F" "$C" || { cp -- "$F" "$C" && { touch -r "$F" "$C" || :; }; }; } 2>"$E" && sync_all "$C" && is_same "$F" "$C" && {
      [ -z "$S" ] || chmod "$S" "$F" "$C"
      return
    }
  fi
  W=$(why)
  W="on another file system: ${W:-it was damaged on its way there}"
  [ -z "$C" ] || close_beside
  return 1
}
is_same() {
  if [ "$A" = none ]; then cmp -s "$1" "$2" 2>"$E"; return; fi
  digest "$1"; Q=$V
  digest "$2"
  [ ${#V} = 64 ] && [ "$Q" = "$V" ]
}

# Renames a staged file over a final name that holds the digest $3, or so many bytes. replace STAGED FINAL DIGEST|any [BYTES]
verb_replace() {
  inner "$1"; F=$P/$X
  inner "$2"; O=./$X
  sync_all "$F" || { no sync "$(why)"; return; }
  is_file || { no changed; return; }
  C=$F
  takes_renames "${O%/*}" || bring || { no place "$W"; return; }
  rename_over "$3" "$4"
  [ "$C" = "$F" ] || close_beside
}
is_file() { [ -f "$O" ] && [ ! -L "$O" ] && reaches "$X"; }

# Not before what may take long: whatever takes the name after this look is overwritten.
rename_over() {
  is_file || { no changed; return; }
  if [ "$1" = any ]; then size "$O"; V=$Y W=${2:-$Y}; else size "$O"; reads "$Y"; digest_ours "$O"; W=$1; fi
  [ "$V" = "$W" ] || { no changed; return; }
  mv -f -- "$C" "$O" 2>"$E" || { no place "$(why)"; return; }
  if sync_all "${O%/*}"; then ok_here; else no sync "$(why)"; fi
}

# The digest of the first $2 bytes of $1, into V; nothing, where they can't be read.
digest_of_first() {
  : >"$E"
  V=$({ { head -c "$2" <"$1" 2>>"$E" || echo failed >&3; } | $T >&3 2>>"$E"; } 3>&1)
  case $V in *failed*) V='' ;; *) V=${V%% *} ;; esac
}

# A log's copy grows where it stands. It is written by a second name in staging, so that what is written to is what was
# looked at, and never through a symlink; and by a shell that has lost its staging to another one, not at all. Every write
# brings verified bytes to the place where they belong, so that one that comes late changes nothing.
# hold FINAL: the second name of the file into H, its size into Y; or the answer, and false.
hold() {
  rm -f "$P/held"
  if [ -L "$1" ] || ! reaches "${1#./}"; then no symlink
  elif [ ! -e "$1" ]; then no absent
  elif [ ! -f "$1" ]; then if [ -d "$1" ]; then no isfolder; else no special; fi
  else
    H=$P/held
    if ! ln -- "$1" "$H" 2>"$E"; then
      # There are no hard links (FAT), or it is on another file system.
      [ -d "$P" ] || { no gone; return 1; }
      H=$1
    fi
    [ -f "$H" ] && [ ! -L "$H" ] || { no changed; return 1; }
    size "$H"
    return
  fi
  return 1
}

# Tells the length of a copy, and the digest of its first bytes: as many as are asked for, or all. measure FINAL [BYTES]
verb_measure() {
  inner "$1"
  hold "./$X" || return
  W=$Y
  [ -r "$H" ] || { rm -f "$P/held"; no measure "it cannot be read: permission denied"; return; }
  reads "${2:-$W}"
  digest_of_first "$H" "${2:-$W}"
  rm -f "$P/held"
  if [ -n "$V" ]; then ok "$W $V"; else no measure "$(why)"; fi
}

# Writes what was received into a copy of $3 bytes, from block $2 of 512 bytes on, so that it has $4 bytes then; $5 is the
# digest of what was received, and tells what is read back. extend FINAL BLOCK BEFORE AFTER DIGEST
verb_extend() {
  inner "$1"
  O=./$X
  [ -f "$P/part" ] || { no gone; return; }
  digest "$P/part"
  [ "$V" = "$5" ] || { no damaged "$V"; return; }
  hold "$O" || return
  [ "$Y" = "$3" ] || { rm -f "$P/held"; no changed "$Y"; return; }
  dd if="$P/part" of="$H" bs=512 seek="$2" conv=notrunc 2>"$E" || { W=$(why); rm -f "$P/held"; no extend "$W"; return; }
  touch -r "$P/part" "$H" 2>/dev/null
  sync_all "$H" || { rm -f "$P/held"; no sync "$(why)"; return; }
  size "$H"
  V=$(dd if="$H" bs=512 skip="$2" 2>/dev/null | $T 2>"$E")
  V=${V%% *}
  if [ "$H" = "$O" ] || [ "$H" -ef "$O" ]; then W=yes; else W=no; fi
  rm -f "$P/held" "$P/part"
  if [ "$W" = yes ] && [ "$Y" = "$4" ]; then ok_here "$V"; else no changed "$Y"; fi
}

# Cuts a copy back to its first bytes, if they are what is expected and only zeros follow, which is what a power cut leaves;
# anything else is content. cut FINAL BYTES DIGEST
verb_cut() {
  inner "$1"
  hold "./$X" || return
  reads "$Y"
  digest_of_first "$H" "$2"
  W=$({ tail -c +$(($2 + 1)) <"$H" || echo failed; } | tr -d '\0' | wc -c)
  [ "$V" = "$3" ] && [ "$Y" -ge "$2" ] && [ "$((W))" = 0 ] || { rm -f "$P/held"; no changed "$Y"; return; }
  dd if=/dev/null of="$H" bs=1 seek="$2" 2>"$E" && sync_all "$H" || { W=$(why); rm -f "$P/held"; no cut "$W"; return; }
  size "$H"
  rm -f "$P/held"
  [ "$Y" = "$2" ] && ok || no changed "$Y"
}

# Gives a copy another name, which nothing has. Both names stand for a moment. rename OLD NEW
verb_rename() {
  inner "$1"; F=./$X
  inner "$2"; O=./$X
  case $O in
    ./*/*)
      make_folder "${X%/*}" || {
        # Only of what is there is it known that it has the name that it had.
        if [ -e "$F" ] || [ -L "$F" ]; then no folder "$W"; else no changed; fi
        return
      }
      ;;
  esac
  if [ ! -e "$F" ] && [ ! -L "$F" ]; then
    # Done before, and nobody heard.
    if [ -f "$O" ] && [ ! -L "$O" ]; then sync_all "${O%/*}" && ok_here || no sync "$(why)"; else no absent; fi
    return
  fi
  hold "$F" || return
  if [ "$H" = "$F" ]; then
    standing "$O" && return
    is_one_disk "${F%/*}" "${O%/*}" || { no rename "to another file system"; return; }
    mv -n -- "$F" "$O" 2>"$E" || { no rename "$(why)"; return; }
    if [ -e "$F" ]; then no changed; return; fi
  else
    if ! ln -- "$H" "$O" 2>"$E" && { [ -L "$O" ] || ! [ "$H" -ef "$O" ]; }; then
      W=$(why)
      rm -f "$P/held"
      standing "$O" || no rename "$W"
      return
    fi
    [ "$H" -ef "$O" ] && [ "$H" -ef "$F" ] || { rm -f "$P/held"; no changed; return; }
    # Else it has the one name that it had.
    rm -f -- "$F" 2>"$E" || { W=$(why); rm -f -- "$O" "$P/held"; no rename "$W"; return; }
    rm -f "$P/held"
  fi
  if sync_all "${O%/*}"; then ok_here; else no sync "$(why)"; fi
}

# Tells the digest of what stands under each name of the list that was received, many names to a process.
verb_survey() {
  S=no FAR=no
  set --
  while IFS= read -r L; do
    inner "$L"
    { [ -f "./$X" ] && [ ! -L "./$X" ] && reaches "$X"; } || continue
    S=yes
    case $L in *\\*) Q='' ;; *) Q=$X ;; esac
    if [ -z "$Q" ] || [ ! -r "./$Q" ]; then
      is_near "./$X" || FAR=yes
      size "./$X"
      reads "$Y"
      digest_ours "./$X"
      printf 'stands %s %s\n' "$V" "$L"
      continue
    fi
    set -- "$@" "./$X"
    [ $# -lt 200 ] || { tell "$@"; set --; }
  done <"$P/names"
  [ $# = 0 ] || tell "$@"
  if [ "$S" = yes ]; then sync_wherever || { no sync "$(why)"; return; }; fi
  ok_here
}
tell() {
  is_near "$@" || FAR=yes
  # shellcheck disable=SC2012 # it is about sizes
  ls -dnL -- "$@" 2>/dev/null | read_sizes
  # shellcheck disable=SC2086 # a tool and its words
  $T "$@" 2>/dev/null
}
read_sizes() { while read -r Q Q Q Q W Q; do reads "$W"; done; }
# With $FAR some of it is on other file systems.
sync_wherever() { if [ "$FAR" = yes ]; then sync 2>"$E"; else sync_all .; fi; }

# Makes folders, one a line up to a "/", and tells which can't be. folders
verb_folders() {
  FAR=no
  while IFS= read -r L && [ "$L" != / ]; do
    inner "$L"
    if ! make_folder "$X"; then printf 'folder %s: %s\n' "$L" "$W"; elif ! is_near "./$X"; then FAR=yes; fi
  done
  if sync_wherever; then ok_here; else no sync "$(why)"; fi
}

# Clears a staging, if it is there. drop ID
verb_drop() {
  staged_ok "$1" || { no bad; return; }
  if ! adopt "$1" || rm -rf "$P" 2>"$E"; then ok; else no drop "$(why)"; fi
}

# Removes what shipments of the same sender left behind long ago.
verb_sweep() {
  staged_ok "$1" || { no bad; return; }
  # One that a slow transfer still writes to is not old.
  find .skiff -maxdepth 1 -name "$1-*" -mtime +7 2>/dev/null | (while IFS= read -r P; do
    [ -n "$(find "$P" -mtime -7 2>/dev/null)" ] || { clear_beside; rm -rf "$P"; }
  done)
  find .skiff -maxdepth 1 \( -name '_*' -o -name '.errors-*' \) -mtime +1 -exec rm -rf {} + 2>/dev/null
  ok
}

# Sends a staged or final file back, for destinations without a digest tool. cat PATH
verb_cat() {
  inner "$1"
  [ -f "./$X" ] && reaches "$X" || { no gone; return; }
  size "./$X"
  reads "$Y"
  sync_all "./$X" || { no sync "$(why)"; return; }
  size "./$X"
  ok "$Y"
  cat "./$X"
}

OVER=no
ok ready
while [ "$OVER" = no ] && IFS= read -r L; do
  set -f
  # shellcheck disable=SC2086 # verbs and their words hold no blanks or patterns
  set -- $L
  set +f
  for V; do stays "$V"; done
  V=$1
  [ -n "$D" ] || [ "$V" = root ] || { no root; continue; }
  # Behind `recv` comes what is no verb.
  case $V in root | recv) ;; *) is_here || { no moved; break; } ;; esac
  shift
  case $V in
    root | free | open | use | enter | follow | sync | recv | join | digest | member | copy | own | lacks | unpack | omit | publish | place | replace | measure | extend | cut | rename | survey | folders | drop | sweep | cat) "verb_$V" "$@" ;;
    *) no unknown ;;
  esac
done
# Not where `root` never came so far: then it is /dev/null, and the login may be root's.
case $E in */.skiff/.errors-*) rm -f "$E" ;; esac
