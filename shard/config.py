"""Options of one shard, each with its unit and the reason for its default. Checked when made: raises ValueError."""

from dataclasses import dataclass

from cluster.regions import Layout

SIDE_LEAST_M = 32.0
"""Twice the margin in which neighbours are told of what is near the border."""


@dataclass(frozen=True, slots=True)
class ShardConfig:
    """What a :class:`shard.core.ShardCore` is told once, and each of its regions. Raises ValueError with
    all mistakes at once."""

    seed: int = 1
    """The world's randomness (0 to 2**63 - 1)."""
    rate_hz: int = 20
    """Ticks a second, 10 to 60."""
    steps_per_tick: int = 3
    """Walk steps in a tick: at 20 Hz a step lasts 1/60 s, a browser's frame."""
    region: int = 0
    epoch: int = 1
    square_m: tuple[float, float, float, float] | None = None
    """min_x, min_z, max_x, max_z of the region; None: it is the whole world."""
    neighbours: tuple[tuple[int, tuple[float, float, float, float]], ...] = ()
    """Number and square of each region that touches it, corners too."""
    start: bool = True
    """Whether the scripts' ``start`` runs here: in one region of a new world alone, and never again."""
    first_id: int = 1
    """First entity id of the first block; more blocks come with ``RegionCore.ids.add``."""
    id_count: int = 1 << 40
    rows: int = 1024
    """Rows to begin with; columns double when they are full."""
    rows_max: int = 1 << 20
    people_max: int = 4096
    """Bodies of sessions; more are refused with "full"."""
    bounds_half_m: float = 512.0
    """Half the side of the walkable square of a world without a place."""
    tolerance_near_m: float = 0.008
    """A published state is renewed when it is off by more: below 1 cm, above the grid's rounding (6.8 mm at most)."""
    tolerance_far_m: float = 0.06
    """From beyond the near radius (some 25 m) this is under a fifth of a degree."""
    yaw_tolerance_near: int = 2
    """1/256 turn."""
    yaw_tolerance_far: int = 8
    age_max_s: float = 2.0
    """A moving entity's state is renewed at the latest after this long."""
    quiet_s: float = 0.25
    """A walker that hears nothing for so long comes to rest."""
    bank_s: float = 0.25
    """How much unused walking time a client may catch up with after a hiccup of its network."""
    calm_s: float = 1.0
    """Commands of a hiccup are caught up with at once if there was none for so long; what later ones leave in the queue
    stays as room for jitter until nothing has needed it for so long. Shorter: others see a walker on a bad network stop
    and start; longer: what it does is seen up to two ticks late for no reason."""
    backlog_s: float = 2.0
    """Commands that stay behind for so long are dropped, so that delay does not stay for ever."""
    durable: bool = False
    """Whether answers to acts wait until the shell says that they are stored (``RegionCore.journaled``)."""
    leaves: Layout | None = None
    """The cells that the durable store keeps rows by; None: the region is written down nowhere."""
    orphan_s: float = 40.0
    """A body whose gateway has not spoken for so long ends: longer than people may be away (``SessionLimits``)."""

    def __post_init__(self) -> None:
        x0, z0, x1, z1 = self.square_m or (0.0, 0.0, SIDE_LEAST_M, SIDE_LEAST_M)
        wrong = [
            text
            for bad, text in (
                (not 0 <= self.seed < 1 << 63, f"seed: 0 to 2**63 - 1, got {self.seed}"),
                (not 10 <= self.rate_hz <= 60, f"rate_hz: 10 to 60, got {self.rate_hz}"),
                (not 1 <= self.steps_per_tick <= 12, f"steps_per_tick: 1 to 12, got {self.steps_per_tick}"),
                (self.first_id < 1, f"first_id: at least 1, got {self.first_id}"),
                (not 1 <= self.rows <= self.rows_max, f"rows: 1 to rows_max, got {self.rows}"),
                (self.bounds_half_m <= 0, f"bounds_half_m: above 0, got {self.bounds_half_m}"),
                (not 0 < self.tolerance_near_m <= self.tolerance_far_m, "tolerances: 0 < near <= far"),
                (
                    bool(self.neighbours) and self.square_m is None,
                    "neighbours: a region with neighbours needs square_m",
                ),
                (self.leaves is not None and not self.durable, "leaves: answers have to wait for the store (durable)"),
                (min(x1 - x0, z1 - z0) < SIDE_LEAST_M, f"square_m: sides of at least {SIDE_LEAST_M:g} m"),
                (self.region in dict(self.neighbours), f"neighbours: {self.region} cannot be its own"),
                (not 0 < self.age_max_s * self.rate_hz <= 255, f"age_max_s: at most 255 ticks, got {self.age_max_s} s"),
            )
            if bad
        ]
        if wrong:
            raise ValueError("shard configuration: " + "; ".join(wrong))

    @property
    def age_ticks_max(self) -> int:
        return max(1, int(self.age_max_s * self.rate_hz))

    @property
    def bank_steps_max(self) -> int:
        """Most walk steps that may be saved up; at least two ticks' worth, so that jitter of one tick costs nothing."""
        return max(2 * self.steps_per_tick, int(self.bank_s * self.rate_hz * self.steps_per_tick))
