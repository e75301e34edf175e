#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The round trip across an air gap, by files alone: three sites, each in a network namespace that has a loopback device and
# nothing else, and two folders for sticks. Every claim is checked; the first that does not hold ends it.
#
#   bash scripts/airgap/round-trip.sh        as root (or with the right to make network namespaces), after `npm run build`
set -Eeuo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
work=$(mktemp -d "${TMPDIR:-/tmp}/coffer-airgap-XXXXXX")
declare -A namespace
pids=()

finish() {
  local status=$?
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  rm -rf "$work"
  if ((status == 0)); then echo "== All of it held."; else echo "== Failed ($status)." >&2; fi
}
trap finish EXIT
trap 'printf "round-trip.sh: line %d does not hold: %s\n" "$LINENO" "$BASH_COMMAND" >&2' ERR

step() { printf '\n== %s\n' "$*"; }

# A namespace lives as long as the process that sleeps in it.
make_site() {
  local site=$1
  mkdir -p "$work/$site/home"
  unshare --net sleep 3600 &
  local pid=$!
  pids+=("$pid")
  for _ in $(seq 1200); do
    [[ $(readlink "/proc/$pid/ns/net") != $(readlink /proc/self/ns/net) ]] && break
    sleep 0.05
  done
  [[ $(readlink "/proc/$pid/ns/net") != $(readlink /proc/self/ns/net) ]]
  namespace[$site]=$pid
  nsenter --target "$pid" --net ip link set lo up
}

# at SITE COMMAND…: in that site's namespace and folder, with a home of its own.
at() {
  local site=$1
  shift
  (cd "$work/$site" && exec nsenter --target "${namespace[$site]}" --net env -i PATH="$PATH" HOME="$work/$site/home" \
    COFFER_STORE="$work/$site/$site.coffer" "$@")
}

coffer() {
  local site=$1
  shift
  printf '[%s]$ coffer %s\n' "$site" "$*"
  at "$site" node "$root/dist/cli/coffer.cjs" "$@" 2>&1 | sed "s|$work/||g; s/^/    /"
}

# refuses SITE STATUS COMMAND…: it must end with that status.
refuses() {
  local site=$1 expected=$2 status=0
  shift 2
  coffer "$site" "$@" || status=$?
  [[ $status == "$expected" ]] || { echo "expected status $expected, found $status" >&2; return 1; }
}

json() { at "$1" node "$root/dist/cli/coffer.cjs" "${@:2}" --json 2>/dev/null; }
pick() { node -e 'let t="";process.stdin.on("data",(d)=>t+=d).on("end",()=>console.log(eval("(v)=>"+process.argv[1])(JSON.parse(t))))' "$1"; }

step '1. Three sites without a network'
for site in a b c; do make_site "$site"; done
for site in a b c; do
  echo "[$site]\$ ip link"
  at "$site" ip link
  # A kernel may give every namespace tunnel devices of its own; they are down, and nothing leads to them.
  [[ $(at "$site" ip -o link show up | cut -d: -f2) == ' lo' ]]
  [[ -z $(at "$site" ip route) ]]
done
mkdir "$work/stick1" "$work/stick2" "$work/back"

step '2. Site a: a team, a store, three models'
for who in alice bob carol; do coffer a key new "$who" --no-passphrase; done
keys=$work/a/home/.config/coffer/keys
cat >"$work/a/policy.json" <<POLICY
{"principals":{"alice":{"keys":[{"key":"$(cut -d' ' -f1,2 "$keys/alice.pub")","status":"active"}]},
"bob":{"keys":[{"key":"$(cut -d' ' -f1,2 "$keys/bob.pub")","status":"active"}]},
"carol":{"keys":[{"key":"$(cut -d' ' -f1,2 "$keys/carol.pub")","status":"active"}]}},
"rootRole":{"principals":["alice","bob","carol"],"threshold":2},
"rules":[{"names":"*/*@*","publishers":["alice","bob"],"approvers":{"principals":["alice","bob"],"threshold":2},
"revokers":{"principals":["carol"],"threshold":1},"evidence":[{"kind":"inspection"}]}]}
POLICY
coffer a init a.coffer --policy policy.json
policy=$(json a policy show | pick 'v.policy.number + ":" + v.id')
echo "the policy root, told out of band: $policy"

# promote SITE NAME FILE: the whole way in.
promote() {
  local site=$1 name=$2 file=$3
  coffer "$site" add "$file" --name "$name"
  coffer "$site" propose "$name" --as alice
  coffer "$site" approve "$name" --as alice --yes
  coffer "$site" approve "$name" --as bob --yes
  coffer "$site" promote "$name"
}

# A safetensors file of about SIZE MiB whose content depends on SEED.
model() {
  node -e '
    const [file, mib, seed] = process.argv.slice(1); const bytes = Number(mib) * 1048576;
    const head = Buffer.from(JSON.stringify({ w: { dtype: "U8", shape: [bytes], data_offsets: [0, bytes] } }));
    const padded = Buffer.concat([head, Buffer.alloc((8 - (head.length % 8)) % 8, " ")]);
    const size = Buffer.alloc(8); size.writeBigUInt64LE(BigInt(padded.length));
    const out = require("node:fs").openSync(file, "w");
    for (const piece of [size, padded]) require("node:fs").writeSync(out, piece);
    const cipher = require("node:crypto").createCipheriv("aes-128-ctr", Buffer.alloc(16, seed), Buffer.alloc(16));
    for (let at = 0; at < Number(mib); at += 1) require("node:fs").writeSync(out, cipher.update(Buffer.alloc(1048576)));' \
    "$1" "$2" "$3"
}
for n in 1 2 3; do
  model "$work/a/model-$n.safetensors" 24 "$n"
  promote a "acme/model-$n" "model-$n.safetensors"
done

step '3. Out onto two sticks, in volumes of 32 MiB'
coffer a bundle create 'acme/*@*' --volume-size 32M --out ../out
ls "$work/out" | sed 's/^/    /'
count=$(ls "$work/out" | wc -l)
((count >= 3))
at=0
for volume in "$work"/out/*.tar; do
  at=$((at + 1))
  mv "$volume" "$work/stick$((at % 2 + 1))/"
done
victim=$(ls "$work"/stick1/*.tar | head -1)
cp "$victim" "$work/good.tar"
printf '\xff' | dd of="$victim" bs=1 seek=3000000 conv=notrunc status=none
! cmp -s "$victim" "$work/good.tar"
number=$(basename "$victim" | sed -E 's/^[0-9a-f]{12}-0*([0-9]+)-of-.*/\1/')
echo "volume $number on the first stick is damaged"

step '4. Site b: the second stick first, then the damaged one, then that volume cut again'
coffer b bundle inspect ../stick2
refuses b 9 clone ../stick2 b.coffer --root "$policy"
refuses b 6 resolve acme/model-1
status=0
coffer b bundle import ../stick1 ../stick2 || status=$?
echo "import of a damaged volume ends with status $status"
[[ $status == 5 || $status == 9 ]]
refuses b 6 resolve acme/model-1
found=$(at b node "$root/dist/cli/coffer.cjs" bundle verify ../stick1 ../stick2 2>&1 || true)
printf '[b]$ coffer bundle verify ../stick1 ../stick2\n%s\n' "$found" | sed "s|$work/||g; s/^/    /"
grep -q "volume $number\|-000$number-of-" <<<"$found"
coffer a bundle create --again "../stick2/$(ls "$work/stick2" | head -1)" --only-volume "$number" --out ../stick1
cmp "$victim" "$work/good.tar"

echo 'and the import is killed in the middle'
(cd "$work/b" && exec nsenter --target "${namespace[b]}" --net env -i PATH="$PATH" HOME="$work/b/home" \
  COFFER_STORE="$work/b/b.coffer" node "$root/dist/cli/coffer.cjs" bundle import ../stick1 ../stick2 >/dev/null 2>&1) &
importer=$!
sleep 0.6
kill -9 "$importer" 2>/dev/null && echo 'killed' || echo 'it was done before'
wait "$importer" 2>/dev/null || true
coffer b bundle import ../stick1 ../stick2
for n in 1 2 3; do
  coffer b resolve "acme/model-$n"
  at b node "$root/dist/cli/coffer.cjs" checkout "acme/model-$n" "out-$n" 2>/dev/null >/dev/null
  cmp "$work/a/model-$n.safetensors" "$work/b/out-$n/model-$n.safetensors"
done
coffer b fsck
[[ -z $(ls "$work/b/b.coffer/local/tmp") ]]

step '5. Site a revokes; a bundle of revocations goes out; the receipt comes back'
coffer a revoke acme/model-1 --reason 'leaks training data' --as carol --yes
coffer a bundle create --revocations --out ../back
size=$(stat -c %s "$work"/back/*.tar)
echo "the bundle has $size bytes"
((size < 100000))
coffer b bundle import ../back
refuses b 3 resolve acme/model-1
coffer b resolve acme/model-2
coffer b receipt create ../back/b.receipt
coffer a receipt verify ../back/b.receipt
coffer a revoke acme/model-3 --reason 'so that something is not delivered' --as carol --yes
refuses a 9 receipt verify ../back/b.receipt

step '6. Site c: another policy root'
coffer c key new dave --no-passphrase
coffer c init c.coffer --me dave
coffer c bundle import ../stick1 ../stick2
coffer c list
refuses c 3 resolve acme/model-2
coffer c promote acme/model-2 --as dave
coffer c resolve acme/model-2
at c node "$root/dist/cli/coffer.cjs" checkout acme/model-2 out 2>/dev/null >/dev/null
cmp "$work/a/model-2.safetensors" "$work/c/out/model-2.safetensors"
coffer c fsck

step '7. Sites a and b promote the same name apart'
mkdir -p "$work/b/home/.config/coffer"
cp -r "$keys" "$work/b/home/.config/coffer/keys"
model "$work/a/again.safetensors" 1 40
model "$work/b/again.safetensors" 1 50
promote a acme/model-2 again.safetensors
promote b acme/model-2 again.safetensors
mkdir "$work/from-a" "$work/from-b"
coffer a bundle create acme/model-2 --out ../from-a
coffer b bundle create acme/model-2 --out ../from-b
refuses a 7 bundle import ../from-b
refuses b 7 bundle import ../from-a
refuses a 7 resolve acme/model-2
refuses b 7 resolve acme/model-2
echo 'one promotion that names both'
promote a acme/model-2 again.safetensors
coffer a resolve acme/model-2
rm "$work"/from-a/*
coffer a bundle create acme/model-2 --out ../from-a
coffer b bundle import ../from-a
coffer b resolve acme/model-2
[[ $(json a resolve acme/model-2 | pick 'v.manifest.id') == $(json b resolve acme/model-2 | pick 'v.manifest.id') ]]
coffer a fsck || [[ $? == 3 ]]
coffer b fsck || [[ $? == 3 ]]
