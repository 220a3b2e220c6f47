"""Holds every published example against its schema, with a validator that nobody here wrote.

Started by `contract.rs` with the folder `events`; prints how many examples fit.
"""

import json
import pathlib
import sys

from jsonschema import Draft202012Validator

fit = 0
for schema_file in sorted(pathlib.Path(sys.argv[1]).glob("*/v*.schema.json")):
    schema = json.loads(schema_file.read_text())
    Draft202012Validator.check_schema(schema)
    example = json.loads(pathlib.Path(str(schema_file).replace(".schema.json", ".example.json")).read_text())
    validator = Draft202012Validator(schema)
    for error in validator.iter_errors(example):
        sys.exit(f"the example of {schema_file} does not fit its schema: {error.message}")
    # A schema that lets everything through would say nothing.
    for name in schema.get("required", []):
        if validator.is_valid({key: value for key, value in example.items() if key != name}):
            sys.exit(f"{schema_file} requires {name}, and lets an example without it through")
    fit += 1
print(fit)
