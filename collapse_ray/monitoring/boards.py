"""The dashboards: what lineages do, and what they cost."""

from collapse_ray.monitoring import metrics
from collapse_ray.monitoring.dashboard import Dashboard, Panel, Query, Section, Variable
from collapse_ray.monitoring.queries import any_of, counted, newest, rate, total

LOSS = ("real_test_loss",)
TAIL = ("rare_token_survival", "rare_token_share", "tail_coverage")
DIVERSITY = ("variance_ratio", "recall", "coverage", "vocabulary_coverage", "distinct_2", "distinct_3")

_LINEAGES = (
    Panel(
        "Lineages by state",
        "Failed says nothing about a lineage's health: the cluster, the store or the code gave up on it.",
        (Query(total(metrics.LINEAGES, ("state",)), "{{state}}"),),
        kind="stat",
    ),
    Panel(
        "Verdicts",
        "Lineages by what each definition of collapse says of them.",
        (Query(total(metrics.VERDICTS, ("verdict", "status")) + " > 0", "{{verdict}}: {{status}}"),),
        kind="bargauge",
    ),
    Panel(
        "Collapsed lineages",
        "Value: the generation at which the verdict fell.",
        (Query(newest(metrics.COLLAPSED)),),
        kind="table",
    ),
    Panel(
        "Generation",
        "The latest generation that was evaluated.",
        (Query(newest(metrics.GENERATION), "{{lineage}}"),),
        width=12,
    ),
    Panel(
        "Real fraction",
        "Counted in the pool of the latest generation, after rounding and sampling.",
        (Query(newest(metrics.REAL_FRACTION), "{{lineage}}"),),
        unit="percentunit",
        width=12,
    ),
)


def _values(*names: str, others: bool = False) -> tuple[Query, ...]:
    matcher = f'metric{"!~" if others else "=~"}"{any_of(*names)}"'
    legend = "{{lineage}}" if len(names) == 1 else "{{lineage}} {{metric}}"
    return (Query(newest(metrics.VALUE, matcher), legend),)


_HEALTH = (
    Panel("Loss on held-out real data", "Per sample, or per token for text, in nats.", _values(*LOSS)),
    Panel("Tail", "What a lineage loses first: 1 is all of the real data's tail, 0 none.", _values(*TAIL)),
    Panel("Diversity", "1 is the spread of the real data; 0 is a collapse to one point.", _values(*DIVERSITY)),
    Panel("Other metrics", "All that is in no other panel.", _values(*LOSS, *TAIL, *DIVERSITY, others=True), width=12),
    Panel(
        "Training loss",
        "Of the model that is trained now, on its own pool: it may fall while the lineage collapses.",
        (Query(newest(metrics.TRAIN_LOSS), "{{lineage}}"),),
        width=12,
    ),
)

_WORK = (
    Panel(
        "Samples per second",
        "Rows trained on, samples generated, held-out rows evaluated; over all workers.",
        (Query(rate(metrics.SAMPLES, ("stage",)), "{{stage}}"),),
    ),
    Panel(
        "Tokens per second",
        "The same in tokens, where samples are made of them.",
        (Query(rate(metrics.TOKENS, ("stage",)), "{{stage}}"),),
    ),
    Panel(
        "Data wait",
        "Share of the time in training steps in which rank 0 waited for rows. A GPU may be at work meanwhile.",
        (Query(f"{rate(metrics.DATA_WAIT_SECONDS)} / {rate(metrics.TRAIN_SECONDS)}", "waiting for rows"),),
        unit="percentunit",
    ),
    Panel(
        "Stages found published",
        "Since the cluster came up: work that was not done again.",
        (Query(counted(metrics.REUSED, ("stage",)), "{{stage}}"),),
        kind="stat",
    ),
    Panel(
        "Resources",
        "CPUs and GPUs of the cluster as Ray schedules them; placement groups hold what no task uses.",
        (Query('sum by (Name, State) (ray_resources{Name=~"CPU|GPU"})', "{{Name}} {{State}}"),),
    ),
    Panel(
        "Placement groups",
        "As Ray's control store counts them.",
        (Query("sum by (State) (ray_gcs_placement_group_count)", "{{State}}"),),
    ),
)

LINEAGES = Dashboard(
    "collapse-lineages",
    "collapse-ray: lineages",
    "Which lineages run, how healthy they are, and how fast.",
    (Variable("experiment", metrics.LINEAGES.series), Variable("lineage", metrics.GENERATION.series)),
    (Section("Lineages", _LINEAGES), Section("Health", _HEALTH), Section("Work", _WORK)),
)

_POWER = (
    Panel(
        "Power by stage",
        "Mean power between the last two reports of each node; idle and foreign are of no lineage.",
        (Query(total(metrics.WATTS, ("kind", "stage", "quality")), "{{kind}} {{stage}} ({{quality}})"),),
        unit="watt",
        stacked=True,
        width=12,
    ),
    Panel(
        "Power by node",
        "Measured and estimated power are two series and never added up.",
        (Query(total(metrics.WATTS, ("node", "quality")), "{{node}} ({{quality}})"),),
        unit="watt",
        width=12,
    ),
)

_ALL = total(metrics.JOULES, ("quality",))
_UNUSED = total(metrics.JOULES, ("kind", "quality"), 'kind=~"idle|foreign"')
_OF_LINEAGES = total(metrics.JOULES, ("lineage", "quality"), 'lineage!=""')

_ENERGY = (
    Panel(
        "Energy by stage",
        "Durable joules since the store's journal began.",
        (Query(total(metrics.JOULES, ("kind", "stage", "quality")), "{{kind}} {{stage}} ({{quality}})"),),
        unit="joule",
        kind="bargauge",
    ),
    Panel(
        "Energy by node",
        "Everything that its devices used while they were metered.",
        (Query(total(metrics.JOULES, ("node", "quality")), "{{node}} ({{quality}})"),),
        unit="joule",
        kind="bargauge",
    ),
    Panel(
        "Most expensive lineages",
        "The twenty that used most.",
        (Query(f"topk(20, {_OF_LINEAGES})", "{{lineage}} ({{quality}})"),),
        unit="joule",
        kind="bargauge",
    ),
    Panel(
        "Idle and foreign share",
        "Of all joules: devices that nobody used, and processes that are not ours.",
        (Query(f"{_UNUSED} / on (quality) group_left {_ALL}", "{{kind}} ({{quality}})"),),
        unit="percentunit",
    ),
    Panel(
        "Energy saved by reuse",
        "What stages that were found published had cost when they were computed; since the cluster came up.",
        (Query(counted(metrics.SAVED, ("stage",)), "{{stage}}"),),
        unit="joule",
        kind="stat",
    ),
    Panel(
        "Sweeps and their budgets",
        "Joules of each sweep's accounts, and what it may spend.",
        (
            Query(total(metrics.JOULES, ("sweep", "quality"), 'sweep!=""'), "{{sweep}} spent ({{quality}})"),
            Query(newest(metrics.BUDGET), "{{sweep}} budget"),
        ),
        unit="joule",
    ),
)

_TRUST = (
    Panel(
        "Unmeasured devices",
        "Devices that could not be read when their node last reported: their joules are missing, not 0.",
        (Query(newest(metrics.UNMEASURED), "{{node}} {{device_kind}}"),),
        width=12,
    ),
    Panel(
        "Ledger lag",
        "How far the journal is behind the clock; some ten seconds are usual.",
        (Query(newest(metrics.LAG), "{{node}}"),),
        unit="s",
        width=12,
    ),
)

ENERGY = Dashboard(
    "collapse-energy",
    "collapse-ray: energy",
    "What every joule was spent on, where, and how far the figures can be trusted.",
    (Variable("ledger", metrics.JOULES.series),),
    (Section("Power", _POWER), Section("Energy", _ENERGY), Section("Trust", _TRUST)),
)

DASHBOARDS = {"collapse_lineages": LINEAGES, "collapse_energy": ENERGY}
"""By the name of their file."""
