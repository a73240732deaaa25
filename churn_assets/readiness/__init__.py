"""Whether a deployment is fit for production: the runbook's checklist, a module a section; looks, and changes nothing.

Checks stand in the order of the checklist. Each says what it found, with numbers, and the one thing that mends it.
"""
