# Tables, figures and verdicts, from records alone and without torch.

REPORT_OPTIONS = f"{INPUT_OPTIONS} --figures {shlex.quote(config['figures'])}"
REPORT_MB = 8000 if SCALE == "paper" else 2000  # some studies of the paper scale record millions of numbers

# One rule per study, because each study has its own figures.  One process writes its table and all figures.
for name, study in active_studies():

    rule:
        name:
            rule_name("report", name)
        input:
            records(name),
            study.path,
        output:
            in_report(f"{RESULTS}/tables/{name}.csv", study, "table"),
            [in_report(f"{FIGURES}/{name}-{figure}.svg", study, figure) for figure in study.figures],
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
            options=untracked(REPORT_OPTIONS),
            fingerprint=study.fingerprint,
            jobs=list(JOBS[name]),
            caption=caption(study),
        message:
            "Write the table and figures of {params.study}"
        shell:
            "python -m goodinit report {params.study} {params.options} --processes {threads} > {log} 2>&1"


rule claims:
    input:
        [file for name in STUDIES for file in records(name)],
        [study.path for study in STUDIES.values()],
    output:
        report(
            f"{RESULTS}/claims.md",
            caption="report/claims.rst",
            category="All verdicts",
            labels={"content": "all works, page"},
        ),
        report(
            f"{RESULTS}/claims.csv",
            caption="report/claims.rst",
            category="All verdicts",
            labels={"content": "all works, table"},
        ),
        f"{RESULTS}/README.md",
        [
            report(
                f"{FIGURES}/verdicts.svg",
                caption="report/counts.rst",
                category="All verdicts",
                labels={"content": "number of each verdict"},
            )
            for _ in works_with_claims()[:1]
        ],
        [f"{FIGURES}/verdicts.png" for _ in works_with_claims()[:1]],
        [
            report(
                f"{FIGURES}/{work}/verdicts.svg",
                caption="report/evidence.rst",
                category="All verdicts",
                labels={"content": work},
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
        options=untracked(REPORT_OPTIONS),
    message:
        "Evaluate the claims of all studies"
    shell:
        "python -m goodinit claims {params.options} > {log} 2>&1"
