"""The configuration of a server: TOML, below environment, below flags; all mistakes told at once."""

from isthmus.config.loading import load
from isthmus.config.model import Auth, Cluster, Config, Console, Gateway, Limits, Logging, Shard, View, World
from isthmus.config.options import OPTIONS, Option, show
from isthmus.config.problems import ConfigProblems, Problem
from isthmus.config.relations import is_loopback

__all__ = [
    "OPTIONS",
    "Auth",
    "Cluster",
    "Config",
    "ConfigProblems",
    "Console",
    "Gateway",
    "Limits",
    "Logging",
    "Option",
    "Problem",
    "Shard",
    "View",
    "World",
    "is_loopback",
    "load",
    "show",
]
