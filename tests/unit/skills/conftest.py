from hypothesis import settings

# A busy machine is slow, not wrong: property tests state laws, never times.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
