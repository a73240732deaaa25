"""A slice of a real data set, as a customer's export; see examples/oulad."""

import os
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from deployed import ROOT, Deployment

FOLDER = Path(os.environ.get("OULAD_DIR") or ROOT.parent / "shared" / "data" / "oulad")
FIRST, LAST = date(2013, 9, 1), date(2014, 9, 30)
EVERY = 8
DATED = {"activity": "day", "submissions": "submitted_on", "enrolments": None}


def is_there():
    """Whether the data set is where it is looked for."""
    return (FOLDER / "activity.parquet").exists()


def seed_oulad(folder):
    """Cut the slice, and run `churn seed` over it with the example's configuration."""
    export = folder / "export"
    export.mkdir()
    write_slice(export)
    settings = {
        "CHURN_MLOPS_CONFIG": str(ROOT / "examples" / "oulad" / "config.yaml"),
        "CHURN_SOURCE__FILES__ROOT": str(export),
        "CHURN_SOURCE__START_DATE": FIRST.isoformat(),
        "CHURN_CLOCK__TODAY": "2014-10-01",
        "CHURN_TRAINING__MIN_PR_AUC": "0.2",
        "CHURN_TRAINING__BOOTSTRAP_REPLICATES": "20",
        "CHURN_DRIFT__PAGE_ROWS": "100",
    }
    deployment = Deployment.fresh(folder / "deployment", settings)
    return deployment, deployment.run("seed")


def write_slice(export):
    """Every eighth student, one academic year and its surroundings."""
    students = _chosen(pacsv.read_csv(FOLDER / "students.csv.gz"))
    with pa.CompressedOutputStream(str(export / "students.csv.gz"), "gzip") as file:
        pacsv.write_csv(students, file)
    for name, day in DATED.items():
        table = _chosen(pq.read_table(FOLDER / f"{name}.parquet"))
        if day:
            days = table.column(day).to_numpy()
            table = table.filter(pa.array((days >= np.datetime64(FIRST)) & (days <= np.datetime64(LAST))))
        pq.write_table(table, export / f"{name}.parquet")


def _chosen(table):
    ids = table.column("id_student").cast(pa.int64()).to_numpy()
    return table.filter(pa.array(ids % EVERY == 0))
