"""The large-scale study of Locatello et al. (2019): its grid of models, trained in shards, as a table and a page.

`jaxvae study --preset full` is the published grid: 7 data sets x 6 methods x 6 regularization strengths x 50 seeds.
`small` (180 models) and `tiny` (24) are cut down to two cores. It needs `pip install 'jaxvae[study]'`.

Each model has a number. `jaxvae study --preset full --model-num 1234` prints its settings, and the command that
trains it alone. `--shard 3/64` trains the fourth of 64 parts of the models, as one job of an array:

    #SBATCH --array=0-63
    srun jaxvae study --preset full --folder /shared/study --shard $SLURM_ARRAY_TASK_ID/64

In an indexed Job of Kubernetes, use `--shard $JOB_COMPLETION_INDEX/64`. The same command resumes a shard that was
stopped. A shard ends with a Parquet file that has one row per model: its place in the grid, losses, scores of means
and of samples, the terms of the KL, and the reason if it failed.

- `jaxvae study merge /shared/study --out study.parquet` makes one table of all shards. It refuses missing or repeated
  models, and shards with different settings or different code.
- `jaxvae study report study.parquet` writes a page: each finding of the study next to what the table shows, the plots
  of the study, the theorem in numbers, and the cost.
- `jaxvae study speed` measures how long the published grid would take on your device, for `--speed` of `report`.

experiments/study.py does all of it for one preset, and experiments/README.md has what `small` shows.
"""
