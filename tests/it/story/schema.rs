//! JSON schemas, held by a validator that nobody here wrote.

use serde_json::Value;

/// A schema that is ready to hold values against.
pub struct Schema {
    schemas: boon::Schemas,
    index: boon::SchemaIndex,
}

impl Schema {
    pub fn of(schema: Value) -> Self {
        let mut compiler = boon::Compiler::new();
        compiler.set_default_draft(boon::Draft::V2020_12);
        compiler.add_resource("schema:it", schema).unwrap();
        let mut schemas = boon::Schemas::new();
        let index = compiler.compile("schema:it", &mut schemas).unwrap();
        Self { schemas, index }
    }

    /// One that is published, by its path under `events`.
    pub fn published(path: &str) -> Self {
        let text = std::fs::read_to_string(format!("{}/events/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        Self::of(serde_json::from_str(&text).unwrap())
    }

    /// What does not fit, if something doesn't.
    pub fn misfit(&self, value: &Value) -> Option<String> {
        self.schemas.validate(value, self.index).err().map(|e| format!("{e:#}"))
    }
}
