"""What engines, fusions, merges and residency cost on a GPU: `python -m benchmarks.cuda` (at most 8 minutes).

Nothing is fetched: checkpoints of Qwen2.5's shapes (1.5 B and 7 B parameters, bfloat16) are written with
random numbers, with a tokenizer of their own. Each part runs in a process of its own under a time of its own,
so that a crash of CUDA, or memory that runs out, costs that part only; what it had measured by then is kept.

    machine     what is here: versions, device, memory, seconds of a pinned copy to the device and of reading
    load        seconds of a load over what its bytes take at those rates, page cache dropped and hot; engines
                swapped in one child process, and the device memory that came back
    decoding    tokens/s of the transformers engine over a bare batch loop of the same model, and columns that
                the model is fed per step, from which a lost cache is seen
    vllm        the same weights in vLLM, where it is installed: load, swap, sleep and wake, LoRA, a fusion
    fusion      three models written as one text, over one model and over 3 x one; texts equal to a reference
    residency   two jobs over 6 engines of which 2 stay resident, against a script that loads each model anew,
                and against engines in alternation; over both bounds
    merges      linear, ties and tsvm of two large checkpoints: seconds, bytes/s, peak memory, CPU and device

`--dry` goes through the same code with tiny shapes, also without a GPU; what only a GPU can say is then
"not_on_cpu". The report is written to `--out` after every part, and is the last line of stdout.
"""
