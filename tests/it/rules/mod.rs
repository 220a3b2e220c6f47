//! What holds of the code, of the documents and of what each part says alone.

mod client;
mod contract;
mod deploy_files;
mod installer;
mod limits;
mod portable_client;
mod slack_sdk;
mod standin_refuses;
mod terminal;
mod tidy;
