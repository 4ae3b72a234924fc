"""The gateway's pure core: mirror of regions, views, frames. No socket, clock, task or random source."""
