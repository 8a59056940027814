"""Every message of the encoder that advises something, by some of its words, and the test that follows the advice: see tests/jobs/advice_table.py."""

from __future__ import annotations

from tests.advice import Beyond, Way

HERE = "test_advice.py"
HABITS = f"{HERE}::test_what_users_of_sentence_transformers_are_told_to_write"
GPU = "A GPU, or one with that fault, is not at hand; the words are tested in test_device.py and on a GPU"
HUB = "A model on the hub is not at hand; that nothing there is said is tested in test_sources.py"

TABLE: dict[str, Way] = {
    "write `from embermill import Encoder`": "test_encoder_calls.py::test_one_text_is_one_vector",
    "no backend runs {}": Beyond(GPU),
    "start on device {}": Beyond(GPU),
    "cuBLASLt has no algorithm": Beyond(GPU),
    "CuPy is not installed": f"{HERE}::test_without_a_gpu_the_cpu_does",
    "CuPy sees no GPU": f"{HERE}::test_without_a_gpu_the_cpu_does",
    "no usable GPU": f"{HERE}::test_without_a_gpu_the_cpu_does",
    "out of GPU memory": Beyond(GPU),
    "attention on this GPU backend": Beyond(GPU),
    "leave pooling out": f"{HERE}::test_a_static_model_has_one_pooling",
    "leave it out, or pass max_tokens=": "test_description.py::test_length_limits",
    "put the same files there": f"{HERE}::test_a_pickle_of_another_model",
    "give the text, or the name of one of the model's prompts": f"{HERE}::test_prompts",
    "give the text itself as prompt=": f"{HERE}::test_prompts",
    "`embermill run` embeds a corpus on several": Beyond("A command of another room, which its own tests run all day"),
    "give the texts as the first argument": HABITS,
    "write encoder.max_tokens": HABITS,
    "write encoder.dimension": HABITS,
    "write encoder.encode_stream(batches)": HABITS,
    "write (a * b).sum(axis=1)": HABITS,
    "leave it out: an Encoder does nothing but inference": HABITS,
    "`embermill convert` writes a model's folder": "weights/convert/test_convert.py::test_a_folder_goes_along_whole",
    "write torch.from_numpy": Beyond("There is no torch where the tests run; the array that it takes is what encode returns"),
    "leave output_value out": HABITS,
    "write encode_query(texts) or encode_document(texts)": HABITS,
    "to quantise them, write {}": "test_encode_keywords_reference.py",
    "leave empty documents out": "pipeline/test_stream.py::test_faults_of_each_stage_reach_the_caller",
    "for a text, end it with a blank or a colon": "test_prompts.py::test_texts_and_names_are_not",
    "has no meaning for a folder; leave it out": "test_sources.py::test_a_folder_has_no_revision",
    "expected package:NAME/SUBDIR": "test_sources.py::test_a_package_is_found_without_being_imported",
    "is installed here; install it (pip install)": "test_sources.py::test_a_package_is_found_without_being_imported",
    "give an absolute path": Beyond("An absolute path is what every other test gives"),
    "Check the spelling": Beyond(HUB),
    "accept them on the model's page": Beyond(HUB),
    "give a branch, a tag or a commit that its page lists": Beyond(HUB),
    "Without the hub give the model's folder": "test_sources.py::test_the_hub",
    "free disk space there, or name another folder in HF_HOME": Beyond("A disk that is full is not at hand; the words are tested in test_sources.py"),
    # tokenizers
    "Add tokenizer.json, or name in tokenizer_config.json": f"{HERE}::vocab.txt for PreTrainedTokenizerFast",
    "a BPE with continuing_subword_prefix": f"{HERE}::BPE with suffixes",
    "remove the key to embed with the class": f"{HERE}::auto_map",
    "set tokenizer_class to PreTrainedTokenizerFast in tokenizer_config.json": f"{HERE}::AlbertTokenizerFast",
    "fetch the tokenizer again": Beyond("What is fetched again is the file as it was, which all other tests read"),
    "end the prompt with a blank or punctuation": "text/test_prompt_boundary.py::test_what_is_said",
    "set it in {} to one of its tokens": f"{HERE}::unk_token unknown",
    "set {} in {} to tokens of the vocabulary": f"{HERE}::cls_token unknown",
    "name each setting by its key": f"{HERE}::init_inputs",
    "and remove the key": f"{HERE}::fast_tokenizer_files",
    # weights
    "name one of them in place of the folder": f"{HERE}::test_several_weight_files",
    "move the others away": f"{HERE}::test_several_weight_files",
    "decompress it with gunzip and use the .mpk": f"{HERE}::test_a_gzip_that_grows_too_much",
    "(`embermill inspect` lists them)": "weights/test_inspect.py::test_one_json_object_for_any_record",
    "make room or get permission there": f"{HERE}::test_places_for_a_copy",
    "name another or move them away": f"{HERE}::test_places_for_a_copy",
    "name one inside it, such as": f"{HERE}::test_places_for_a_copy",
    "is not replaced; name another place": f"{HERE}::test_places_for_a_copy",
    "name it .{}, or leave --to {} away": f"{HERE}::test_places_for_a_copy",
}
