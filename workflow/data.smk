# Data sets: downloaded and checked by torchvision, embedded, or folders of pictures; prepared once as arrays.


rule dataset:
    output:
        f"{DATA_ROOT}/prepared/{{name}}/manifest.json",
    log:
        "logs/dataset/{name}.log",
    conda:
        "../environment.yml"
    threads: lambda wildcards: 1 + 15 * ("-" in wildcards.name)  # pictures of one size, which many processes decode
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
    params:
        data_root=lambda wildcards, output: shlex.quote(str(Path(output[0]).parents[2])),
    shell:
        "python -m goodinit prepare {wildcards.name:q} --data-root {params.data_root} --processes {threads} > {log} 2>&1"
