#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Recovers one model from the volumes of a bundle, and checks it, without Coffer: with tar, cat, sha256sum, ssh-keygen and
# what every POSIX system has. It checks every hash and signature; whether you trust the people whose keys it is given is
# for you to know: take their public keys from elsewhere, not from the stick.
#
#   rescue.sh NAME TARGET ALLOWED_SIGNERS THRESHOLD VOLUME.tar…
#
# All volumes of a bundle that has the model, in any order, and of all newer bundles that you have: the model comes from the
# newest one that has it, and what any of them revokes or refuses counts, but for a revocation of the name after which it was
# promoted again. TARGET appears only once everything was found good.
#
# NAME             namespace/model@version
# TARGET           a folder that is not there yet: the files of the model come to lie in TARGET/files
# ALLOWED_SIGNERS  lines `who ssh-ed25519 AAAA…` of the approvers (ssh-keygen(1), ALLOWED SIGNERS)
# THRESHOLD        how many of these people must have signed
set -eu

stop() { echo "rescue: $*" >&2; exit 1; }
[ $# -ge 5 ] || stop "expected: NAME TARGET ALLOWED_SIGNERS THRESHOLD VOLUME.tar..."
name=$1 target=${2%/} signers=$3 threshold=$4
shift 4
case $threshold in [1-9] | [1-9][0-9]) ;; *) stop "$threshold: expected how many people must have signed" ;; esac
case $name in *[!A-Za-z0-9._/@-]*) stop "$name: expected namespace/model@version" ;; esac
text=$(echo "$name" | sed 's/\./\\./g')                          # for grep: a dot is a dot
[ ! -e "$target" ] || stop "$target: expected a folder that is not there yet"

whole=$target
target=$whole.part.$$
trap 'rm -rf "$target"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$target/bundle" "$target/files"

# 1. Members that are not of the three known forms are refused before anything is unpacked. Of several bundles the newest that
#    has the model is taken: the number of its log entry tells, and so all must be of one store's log.
look() {                                                        # the index of a volume, and what it says of itself
  tar --force-local -xOf "$1" bundle/index.json > "$target/index" 2> /dev/null || stop "$1: has no index"
  this=$(sha256sum < "$target/index" | cut -c 1-12)
  store=$(grep -o '"store":"[0-9a-f]*","storeKey"' "$target/index" | cut -d '"' -f 4)
  entry=$(grep -oE '"number":[1-9][0-9]{0,11}\},"names"' "$target/index" | tr -dc 0-9) || stop "$1: its index has no log entry"
}
bundle= log= first=0 gone=
for volume in "$@"; do
  tar --force-local -tf "$volume" > "$target/members" 2> "$target/why" || stop "$volume: damaged, or no volume: $(head -n 1 "$target/why")"
  grep -vE '^(bundle/(index\.json(\.[0-9a-f]{64}\.sig)?|volume\.json)|objects/[0-9a-f]{2}/[0-9a-f]{62}|signatures/[0-9a-f]{2}/[0-9a-f]{62}/[0-9a-f]{64}\.sig|blobs/[0-9a-f]{2}/[0-9a-f]{62}(\.part-[0-9]{5})?)$' "$target/members" &&
    stop "$volume: holds something that no volume holds"
  look "$volume"
  [ "${log:-$store}" = "$store" ] || stop "$volume: of another store than the volumes before it; give those of one store"
  log=$store
  grep -qE "\"name\":\"$text\",\"state\":\"(deleted|revoked)\"" "$target/index" && gone="; $volume says that it is revoked"
  grep -qF "\"name\":\"$name\",\"state\":\"trusted\"" "$target/index" || continue
  [ "$entry" -le "$first" ] || { bundle=$this first=$entry; }
done
[ -n "$bundle" ] || stop "$name: expected one trusted statement in the index, found none$gone"

# 2. The volumes of that bundle side by side; all others apart.
have=" "
mkdir "$target/others"
for volume in "$@"; do
  look "$volume"
  if [ "$this" = "$bundle" ]; then
    tar --force-local -xf "$volume" --no-same-owner --overwrite -C "$target" || stop "$volume: cannot be unpacked"
    have="$have$(sed 's/.*"number":\([0-9]*\).*/\1/' "$target/bundle/volume.json") "
  else
    tar --force-local -xf "$volume" --no-same-owner --overwrite -C "$target/others" || stop "$volume: cannot be unpacked"
  fi
  grep -oE '"(refusals|revocations)":\[[^]]*\]' "$target/index" | grep -oE '[0-9a-f]{64}' >> "$target/denials" || :
done
of=$(grep -oE '"of":[1-9][0-9]{0,3},' "$target/bundle/volume.json" | tr -dc 0-9) || stop "$bundle: its volumes do not say how many they are"
number=0 lacks=
while [ $((number += 1)) -le "$of" ]; do
  case "$have" in *" $number "*) ;; *) lacks="$lacks, volume $number of $of is missing" ;; esac
done
grep -q '"blobs":"missing"' "$target/bundle/index.json" && lacks="$lacks, bundle $bundle was made for a store that has the rest"

at() { printf %s "$1" | sed 's,^..,&/,'; }                      # 0123… becomes 01/23…
is() {                                                          # stops unless digest $1 is that of file $2
  [ "$(sha256sum < "$2" | cut -c 1-64)" = "$1" ] && return
  stop "${2#"$target/"}: not the bytes of its name: a volume is damaged${lacks:+, or${lacks#,}}"
}
told() {                                                        # which statement file $1 is, and the reason that it gives
  echo "$1" | sed 's,.*/objects/\(..\)/,\1,' | tr -d '\n'
  sed -n 's/.*"reason":"\([^"]*\)".*/: \1/p' "$1" | tr -cd '[:print:]'
}
object() {                                                      # the path of an object, once its hash is found right
  path="$target/objects/$(at "$1")"
  [ -f "$path" ] || path="$target/others/objects/$(at "$1")"
  [ -f "$path" ] || stop "object $1 is in none of these volumes$lacks"
  is "$1" "$path"
  echo "$path"
}

# 3. Every object is what its name says.
for path in "$target"/objects/*/* "$target"/others/objects/*/*; do
  [ -f "$path" ] || continue
  is "$(echo "$path" | sed 's,.*/objects/\(..\)/,\1,')" "$path"
done

# 4. Which statement stands for the name: the index says so, the statement repeats it.
index="$target/bundle/index.json"
statement=$(grep -o "{\"heads\":\[[^]]*\],\"manifest\":\"[0-9a-f]*\",\"name\":\"$text\",\"state\":\"trusted\"}" "$index" |
  sed 's/{"heads":\["\([0-9a-f]*\)"\].*/\1/')
[ ${#statement} = 64 ] || stop "$name: expected one trusted statement in the index, found none"
document=$(object "$statement") || exit 1
ref="refs/trusted/$(echo "$text" | sed 's,@,/,')"
grep -q "\"ref\":\"$ref\"" "$document" || stop "statement $statement is about another name"
for denial in $(sort -u "$target/denials"); do
  object "$denial" > /dev/null                                  # all of them must have come, or the bad news may be missing
done
# Whoever alters a bundle may call an old one the newest; what follows a statement is signed, and says so.
for later in "$target"/objects/*/* "$target"/others/objects/*/*; do
  grep -qs "\"previous\":\[[^]]*$statement" "$later" && grep -q "\"ref\":\"$ref\"" "$later" &&
    stop "$name: statement $statement was followed by another, $later; leave out the bundle that calls itself log entry $first"
done
# Who signs a statement signs what it follows: where a revocation is among that, the name was promoted again, with other bytes.
before=" "
set -- "$statement"
while [ $# -gt 0 ]; do
  case $before in
    *" $1 "*) ;;
    *)
      before="$before$1 "
      known=$(object "$1" 2> /dev/null) &&
        set -- "$@" $(grep -o '"previous":\[[^]]*\]' "$known" | grep -oE '[0-9a-f]{64}') ;;
  esac
  shift
done
manifest=$(sed 's/.*"manifest":"\([0-9a-f]*\)".*/\1/' "$document")
list=$(object "$manifest") || exit 1
blobs=$(grep -o '"sha256":"[0-9a-f]*"' "$list" | cut -d '"' -f 4)
for revocation in "$target"/objects/*/* "$target"/others/objects/*/*; do
  grep -qs '"ref":"refs/revoked/' "$revocation" || continue
  case $before in
    *" $(echo "$revocation" | sed 's,.*/objects/\(..\)/,\1,') "*) about=$statement ;;
    *) about="$statement\|\"ref\":\"refs/revoked/${ref#refs/trusted/}\"" ;;
  esac
  grep -q "$about" "$revocation" && stop "$name was revoked, by statement $(told "$revocation")"
  for gone in "$manifest" $blobs; do
    grep -q "$gone" "$revocation" && stop "bytes of $name were revoked: $gone, by statement $(told "$revocation")"
  done
done

# 5. Who signed the statement, and has not refused it since. Each person counts once, whatever keys they have.
signed() {                                                      # who signed object $1 as a $2
  for signature in "$target/signatures/$(at "$1")"/*.sig "$target/others/signatures/$(at "$1")"/*.sig; do
    [ -f "$signature" ] || continue
    for who in $(ssh-keygen -Y find-principals -f "$signers" -s "$signature" 2> /dev/null); do
      ssh-keygen -Y verify -f "$signers" -I "$who" -n "$2" -s "$signature" < "$(object "$1")" > /dev/null 2>&1 && echo "$who"
    done
  done | sort -u
}
refusers=" "
for path in "$target"/objects/*/* "$target"/others/objects/*/*; do
  grep -qs "\"statement\":\"$statement\",\"type\":\"coffer/refusal\"" "$path" || continue
  refusal=$(echo "$path" | sed 's,.*/objects/\(..\)/,\1,')
  set -- "$target/signatures/$(at "$refusal")"/*.sig "$target/others/signatures/$(at "$refusal")"/*.sig
  [ -f "$1" ] || [ -f "$2" ] || stop "$name: refusal $refusal has lost its signatures"
  refusers="$refusers$(signed "$refusal" coffer-refusal | tr '\n' ' ')"
done
people=
for who in $(signed "$statement" coffer-statement); do
  case "$refusers" in *" $who "*) ;; *) people="$people $who" ;; esac
done
count=$(echo $people | wc -w)
[ "$count" -ge "$threshold" ] || stop "$name: expected $threshold people to have signed, found $count:$people$([ "$refusers" = " " ] || echo "; refused by:${refusers% }")"

# 6. Its files. Parts of a large one follow each other in the order of their names.
grep -o '"path":"[^"]*","sha256":"[0-9a-f]*"' "$list" | sed 's/"path":"\(.*\)","sha256":"\(.*\)"/\2 \1/' |
  while IFS= read -r line; do
    blob=${line%% *} path=${line#* }
    case "/$path/" in */../* | */./* | *//*) stop "$path: leads out of the folder" ;; esac
    mkdir -p "$(dirname "$target/files/$path")"
    source="$target/blobs/$(at "$blob")"
    [ -f "$source" ] || set -- "$source".part-*
    [ -f "$source" ] || [ -f "$1" ] || source="$target/others/blobs/$(at "$blob")"
    [ -f "$source" ] || [ -f "$1" ] || set -- "$source".part-*
    [ -f "$source" ] || [ -f "$1" ] || stop "$path: its bytes are in none of these volumes$lacks"
    if [ -f "$source" ]; then cat "$source"; else cat "$@"; fi > "$target/files/$path"
    is "$blob" "$target/files/$path"
    echo "$blob  $path"
  done
rm -rf "$target/members" "$target/why" "$target/index" "$target/denials" "$target/others"
mv "$target" "$whole"
trap - EXIT
echo "rescue: $name is whole, and signed by$people (statement $statement)" >&2
