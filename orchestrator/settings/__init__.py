"""Settings: one YAML file in LiteLLM's form plus a `muster:` section, over it the environment."""
