# Tables, figures and verdicts: from records, without torch.

REPORT_MB = 8000 if SCALE == "paper" else 2000  # the longest studies record millions of numbers


rule table:
    input:
        records_of,
        study=lambda wildcards: study_of(wildcards).path,
    output:
        report(
            f"{RESULTS}/tables/{{work}}/{{study}}.csv",
            caption="report/study.rst",
            category="{work}",
            subcategory="{study}",
            labels={"what": "table"},
        ),
    log:
        f"logs/{SCALE}/table/{{work}}/{{study}}.log",
    conda:
        "envs/report.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: attempt * REPORT_MB,
        runtime=lambda wildcards, attempt: attempt * 30,
        gpu=0,
    params:
        place=PLACE,
        body=lambda wildcards: study_of(wildcards).body,
        caption=caption,
    shell:
        "python -m goodinit table {wildcards.work}/{wildcards.study} {params.place} > {log} 2>&1"


rule figure:
    input:
        records_of,
        study=lambda wildcards: study_of(wildcards).path,
    output:
        report(
            f"{FIGURES}/{{work}}/{{study}}-{{figure}}.svg",
            caption="report/study.rst",
            category="{work}",
            subcategory="{study}",
            labels={"what": "{figure}"},
        ),
        f"{FIGURES}/{{work}}/{{study}}-{{figure}}.png",
    log:
        f"logs/{SCALE}/figure/{{work}}/{{study}}-{{figure}}.log",
    conda:
        "envs/report.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: attempt * REPORT_MB,
        runtime=lambda wildcards, attempt: attempt * 30,
        gpu=0,
    params:
        place=PLACE,
        figures=lambda wildcards, output: shlex.quote(str(Path(output[0]).parents[2])),
        body=lambda wildcards: study_of(wildcards).body,
        caption=caption,
    shell:
        "python -m goodinit figure {wildcards.work}/{wildcards.study} --figure {wildcards.figure} {params.place} "
        "--figures {params.figures} > {log} 2>&1"


rule claims:
    input:
        all_records(),
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
            for work in all_verdicts()
        ],
        [f"{FIGURES}/{work}/verdicts.png" for work in all_verdicts()],
    log:
        f"logs/{SCALE}/claims.log",
    conda:
        "envs/report.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: attempt * REPORT_MB,
        runtime=lambda wildcards, attempt: attempt * 30,
        gpu=0,
    params:
        place=PLACE,
        figures=lambda wildcards: shlex.quote(config["figures"]),
    shell:
        "python -m goodinit claims {params.place} --figures {params.figures} > {log} 2>&1"
