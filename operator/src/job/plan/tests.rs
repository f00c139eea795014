mod candidates;
mod properties;
mod scenarios;
mod settling;
mod world;
