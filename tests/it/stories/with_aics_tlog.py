# Checks our checkpoints and proofs with a verifier that nobody here wrote.
import base64, json, sys
from aics_tlog import parse_checkpoint, parse_note, parse_vkey, verify_checkpoint, verify_leaf_inclusion

given = json.load(open(sys.argv[1]))
key = parse_vkey(given["key"])
for name in ("old", "new"):
    verified = verify_checkpoint(parse_note(given[name]), key)
    assert verified.ok, (name, verified)
    forged = given[name].replace("\n1", "\n2", 1) if "\n1" in given[name] else given[name].replace("/log\n", "/log2\n", 1)
    assert not verify_checkpoint(parse_note(forged), key).ok, "a changed checkpoint is accepted"
checkpoint = parse_checkpoint(parse_note(given["new"]).text)
for proof in given["proofs"]:
    entry, path = bytes.fromhex(proof["entry"]), [base64.b64decode(h) for h in proof["inclusion"]]
    assert verify_leaf_inclusion(entry, proof["index"], checkpoint.size, path, checkpoint.root), proof
    assert not verify_leaf_inclusion(entry + b"x", proof["index"], checkpoint.size, path, checkpoint.root)
print(f"2 checkpoints, {len(given['proofs'])} proofs")
