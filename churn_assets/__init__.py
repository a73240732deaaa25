"""The churn system's asset graph: what is built, from what, when."""
