# Goodinit: from data to verdicts.  `snakemake --cores all` runs the demonstration; see README.md.


configfile: "configs/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/common.smk"
include: "workflow/data.smk"
include: "workflow/train.smk"
include: "workflow/report.smk"


rule all:
    default_target: True
    input:
        all_tables(),
        all_figures(),
        f"{RESULTS}/claims.md",
        f"{RESULTS}/README.md",
