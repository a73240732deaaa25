"""`python -m churn_assets` is the `churn` command."""

from churn_assets.cli import main

main()
