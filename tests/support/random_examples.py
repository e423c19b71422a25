"""How many random examples a test tries: some in `make test`, more in `make nightly`."""

from hypothesis import settings

#: The number for a test without one of its own. `--hypothesis-profile=nightly` chooses a profile.
PROFILES = {"fast": 15, "aiostreamq": 40, "nightly": 200}


def register_profiles() -> None:
    """Make the profiles known, and load that of `make test`."""
    for name, count in PROFILES.items():
        # The time an example takes says something about the machine, not about the code.
        settings.register_profile(name, deadline=None, print_blob=True, max_examples=count)
    settings.load_profile("aiostreamq")


def scaled(count: int) -> int:
    """Return how many examples a test tries now, if it is worth *count* where others try 100."""
    return max(1, count * settings().max_examples // 100)
