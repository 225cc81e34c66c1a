"""``python -m trabecula_service.cli``."""

from trabecula_service.cli.main import main

main()
