"""Checks an export or a proof of a coolops log with no code of coolops, as CHAIN.md and PROOF.md describe them:
    verify.py export LOG.jsonl [CHECKPOINT PUBLIC_KEY]   or   verify.py proof PROOF.json PUBLIC_KEY   (name+hash+key)"""
import base64, datetime, hashlib, json, re, sys, uuid
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
sys.excepthook = lambda kind, error, _: print(f"Not valid: {place} ({kind.__name__}: {error}).", file=sys.stderr)
check = lambda fits, problem: fits or sys.exit(problem)
unb64 = lambda text: check(base64.b64encode(b := base64.b64decode(text)).decode() == text, f"No base64: {text}.") and b
H = lambda *parts: hashlib.sha256(b"".join(parts)).digest()
num = lambda value, size=8: check(type(value) is int, f"{value} is no number.") and value.to_bytes(size, "big")
txt = lambda value: num(len(value.encode()), 4) + value.encode()
uid = lambda value: check(str(uuid.UUID(value)) == value, f"{value} in {place} is no id.") and uuid.UUID(value).bytes
once = lambda pairs: check(len(dict(pairs)) == len(pairs), f"A name stands twice in {place}.") and dict(pairs)
read = lambda text: json.loads(text, object_pairs_hook=once, parse_int=lambda n: int(n) if n != "-0" else -0.0)
genesis, opt = H(b"coolops-genesis").hex(), lambda form, value: b"\0" if value is None else b"\1" + form(value)
def leaf_of(position, recorded_at, type, schema_version, event_id, tenant_id, stream_type, stream_id, stream_version,
            correlation_id, causation_id, fence, actor, payload, body_hash, previous, chain_hash):  # exactly these
    body, time = H(b"\0", payload.encode()), datetime.datetime.strptime(recorded_at, "%Y-%m-%dT%H:%M:%S.%fZ")
    item = H(b"\2", uid(event_id), uid(tenant_id), txt(stream_type), uid(stream_id), num(stream_version, 4), txt(type),
             num(schema_version, 2), txt(actor), uid(correlation_id), opt(uid, causation_id), opt(num, fence), body)
    entry = num(position) + num((time - datetime.datetime(2000, 1, 1)) // datetime.timedelta(microseconds=1)) + item
    check(before in (None, (position - 1, previous)), f"Position {position} ({place}) does not follow the one before.")
    check(position > 1 or (position, previous) == (1, genesis), f"Position {position} does not follow from genesis.")
    check(body.hex() == body_hash, f"The payload of position {position} ({place}) was edited, or its body_hash.")
    check((f"{time:%FT%T.%fZ}", f"{int(previous, 16):064x}") == (recorded_at, previous), f"{place} is not as we write.")
    check(H(b"\1", num(int(previous, 16), 32), entry).hex() == chain_hash, f"Position {position} ({place}) was edited.")
    return H(b"\0", entry)
if (*sys.argv[1:2], len(sys.argv)) not in (("export", 3), ("export", 5), ("proof", 4)): sys.exit(__doc__)
place, before, size, root, tree = sys.argv[1], (0, genesis) if len(sys.argv) == 5 else None, 0, None, []
proof = read(open(sys.argv[2], encoding="utf-8").read()) if sys.argv[1] == "proof" else None
if len(sys.argv) > 3:  # there is a checkpoint, which is a signed note
    note = open(sys.argv[3], encoding="utf-8", newline="").read() if proof is None else str(proof["checkpoint"])
    place, (name, hash4, key) = "public key", sys.argv[-1].strip().split("+", 2)
    check(unb64(key)[0] == 1 and H(name.encode(), b"\n", unb64(key))[:4].hex() == hash4, "The key's hash is wrong.")
    place, (text, _, tail) = f"checkpoint, not signed by {name}+{hash4}", note.rpartition("\n\n")
    found = [s[4:] for s in map(unb64, re.findall(f"^— {re.escape(name)} (.*)$", tail, re.M)) if s[:4].hex() == hash4]
    check(re.fullmatch(r"(— \S+ \S+\n)+", tail) and text.startswith(name + "\n"), f"The checkpoint is not of {name}.")
    Ed25519PublicKey.from_public_bytes(unb64(key)[1:]).verify(found[0], f"{text}\n".encode())
    size, root, place = int(text.split("\n")[1]), unb64(text.split("\n")[2]), sys.argv[1]
if proof:
    event, index, path = proof["event"], proof["index"], [unb64(h) for h in proof["inclusion"]]
    check({*proof} - {"seal"} == {*"format log event index inclusion checkpoint".split()}, "It has other fields.")
    check((proof["format"], proof["log"]) == ("coolops-proof-1", name), f"The proof is not coolops-proof-1 of {name}.")
    tree, inner, log = [leaf_of(**event)], (index ^ size - 1).bit_length(), json.loads(event["payload"]).get("log")
    check(num(index) == num(event["position"] - 1) and index < size, f"Index {index} is another, or not below {size}.")
    check([len(h) for h in path] == [32] * (inner + bin(index >> inner).count("1")), "The inclusion's length is wrong.")
    for n, h in enumerate(path): tree = [H(b"\1", h, *tree) if n >= inner or index >> n & 1 else H(b"\1", *tree, h)]
    seal = json.dumps(log if type(log) is dict and "head" in log else None, sort_keys=True)
    check(json.dumps(proof.get("seal"), sort_keys=True) == seal, "The seal is not the payload's log.")
else:
    for place, line in ((f"line {number}", line) for number, line in enumerate(open(sys.argv[2], "rb"), 1)):
        check(line.endswith(b"\n"), f"{place.capitalize()} is cut off.")
        event = read(line.decode())
        beside = [txt(text) for text in event.pop("plain", {}).values()]  # of which nothing is proved
        leaf, before = leaf_of(**event), (event["position"], event["chain_hash"])
        if before[0] <= size: tree.append(leaf)  # tree: the roots of the full subtrees, the largest first
        while len(tree) > bin(min(before[0], size)).count("1"): tree[-2:] = [H(b"\1", *tree[-2:])]
    check(before and before[0] >= max(size, 1), f"The export ends before position {max(size, 1)}.")
    while len(tree) > 1: tree[-2:] = [H(b"\1", *tree[-2:])]
check(root in (None, *(tree or [H()])), "The checkpoint's root is not that of the events' tree.")
print(f"Everything fits in {sys.argv[2]}; " + (f"{name} signed {size} events." if root else "its end may be missing."))
