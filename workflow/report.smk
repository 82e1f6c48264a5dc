# Tables, figures and verdicts: from records, without torch.

PLACE = f"{STUDIES_AND_RECORDS} --figures {shlex.quote(config['figures'])}"
REPORT_MB = 8000 if SCALE == "paper" else 2000  # the longest studies record millions of numbers

# The table and the figures of a study are made by one process: each study has a rule of its own, with its outputs.
for name, study in recorded_studies():

    rule:
        name:
            rule_name("report", name)
        input:
            records(name),
            study.path,
        output:
            shown_in_report(f"{RESULTS}/tables/{name}.csv", study, "table"),
            [shown_in_report(f"{FIGURES}/{name}-{figure}.svg", study, figure) for figure in study.figures],
            [f"{FIGURES}/{name}-{figure}.png" for figure in study.figures],
        log:
            f"logs/{SCALE}/report/{name}.log",
        group:
            "report"
        conda:
            "envs/report.yaml"
        resources:
            mem_mb=lambda wildcards, attempt: attempt * REPORT_MB,
            runtime=lambda wildcards, attempt: attempt * 30,
            gpu=0,
        params:
            study=name,
            place=untracked(PLACE),
            fingerprint=study.fingerprint,
            jobs=list(JOBS[name]),
            protocol=summary.lines(study, SCALE),
        shell:
            "python -m goodinit report {params.study} {params.place} --no-verdicts --processes {threads} > {log} 2>&1"


rule claims:
    input:
        [file for name in STUDIES for file in records(name)],
        [study.path for study in STUDIES.values()],
    output:
        report(
            f"{RESULTS}/claims.md",
            caption="report/claims.rst",
            category="All verdicts",
            labels={"what": "all works, as a page"},
        ),
        report(
            f"{RESULTS}/claims.csv",
            caption="report/claims.rst",
            category="All verdicts",
            labels={"what": "all works, as a table"},
        ),
        f"{RESULTS}/README.md",
        [
            report(
                f"{FIGURES}/{work}/verdicts.svg",
                caption="report/claims.rst",
                category="All verdicts",
                labels={"what": work},
            )
            for work in works_with_claims()
        ],
        [f"{FIGURES}/{work}/verdicts.png" for work in works_with_claims()],
    log:
        f"logs/{SCALE}/claims.log",
    conda:
        "envs/report.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: attempt * REPORT_MB,
        runtime=lambda wildcards, attempt: attempt * 30,
        gpu=0,
    params:
        jobs={name: list(JOBS[name]) for name in STUDIES},
        place=untracked(PLACE),
    shell:
        "python -m goodinit claims {params.place} > {log} 2>&1"
