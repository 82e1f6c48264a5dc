# Goodinit: from data sets to verdicts.  `snakemake --cores all` runs the demonstration; see README.md.

import os

from snakemake.utils import min_version

min_version("9.0")


configfile: f"{workflow.basedir}/configs/config.yaml"


# With --directory, the settings in that folder override those next to this file.
if os.path.exists("configs/config.yaml"):

    configfile: "configs/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/common.smk"
include: "workflow/data.smk"
include: "workflow/train.smk"
include: "workflow/report.smk"


rule all:
    default_target: True
    input:
        outputs(),
        f"{RESULTS}/claims.md",
        f"{RESULTS}/README.md",
    message:
        "All tables, figures and verdicts are up to date"
