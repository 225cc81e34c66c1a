"""All settings of the service: one TOML file, every key with a default, each key explained by the text under it.

The file is named by ``--config`` or ``TRABECULA_CONFIG``. The texts below the fields are the reference: ``docs/settings.md`` has the same
keys, and a test holds the two together. Settings are read once, at the start (``read``), and passed on: nothing reads them from here.
One module for each concern; ``model`` puts them together.
"""
