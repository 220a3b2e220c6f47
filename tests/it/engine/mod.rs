//! Stories with whole processes, a real Redis, a real Docker Engine or a browser. Two at once: more only make each slower.

mod browser;
mod canary;
mod cli;
mod container;
mod crowds;
mod demo;
mod end_to_end;
mod floods;
mod log_page;
mod network;
mod operating;
mod outages;
mod podman;
mod registry;
mod restore;
mod runner;
mod spans;
