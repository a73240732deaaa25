"""The subjects of the `churn` command, a module each; whatever they build is a Dagster run that the UI shows."""
