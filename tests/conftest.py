"""What holds for every test."""

from hypothesis import HealthCheck, settings

# A machine that is busy for a second is no fault of what is tested: nothing here is timed.
_UNTIMED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("modemctl", deadline=None, suppress_health_check=_UNTIMED)
settings.load_profile("modemctl")
