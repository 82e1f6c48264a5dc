# Data sets: downloaded and checked by torchvision, or embedded; prepared once as arrays.


rule dataset:
    output:
        f"{DATA_ROOT}/prepared/{{name}}/manifest.json",
    log:
        "logs/dataset/{name}.log",
    conda:
        "../environment.yml"
    resources:
        mem_mb=4000,
        runtime=60,
        gpu=0,
    params:
        data_root=lambda wildcards, output: shlex.quote(str(Path(output[0]).parents[2])),
    shell:
        "python -m goodinit prepare {wildcards.name} --data-root {params.data_root} > {log} 2>&1"
