/** What calibration data may be, for the help. */
export const dataHelp = `Calibration data:
  .npz, .safetensors   arrays by input name, as numpy.savez(file, ids=…, mask=…) writes them; the batch axis counts samples, or
                       a dimension in front of all that the network has. A .npy file serves a network with a single input.
  .jsonl               a sample, or a batch, a line: {"ids": [5, 2, 9], "mask": [1, 1, 1]}, or with the dimensions told
                       {"image": {"dims": [1, 28, 28], "data": [0, 0.5, …]}}. Lines may differ in length.
  text                 with --tokenizer (a checkpoint has its own): .txt, a text a line, or .jsonl, {"text": "…"} a line, or
                       {"messages": [{"role": "…", "content": "…"}]} through its chat template, or token ids, [5, 2, 9]. Fills
                       input_ids, attention_mask, token_type_ids and position_ids; texts of like length are padded together,
                       unless --sequence-length cuts them into windows, which never are.
  images               .png, .jpg or .webp files, or a folder of them, through the package sharp (npm install sharp). Scaled
                       to the size that the network fixes, or --image-size; (pixel / 255 − mean) / std.

  The batch axis of an input is the dimension called batch (or b, bs, N), or one that inputs share, else the first; --batch-axis
  says otherwise. Inputs without one (scalars, vectors of constants) are fed as they are.

  Use data like that which the network will see: as many rows reach a layer as there are samples (times tokens), and about
  twice as many as it has inputs are good. A generation model's caches (past_key_values…) are made empty for you.
`;
