// @ts-check
/**
 * What this page is made of. The server's page has all panels and asks the server; `cifarlab export --to site` writes another
 * file in place of this one. All addresses in the page are relative, so that it can lie in any folder of a host.
 *
 * panels: files in panels/, in order of their tabs; the first is shown without a hash.
 * backend: "http" (model-http.js) or "onnx" (model-onnx.js); each has `createModel(api)`.
 */
export default {
	panels: ["try", "why", "inside", "poke", "runs", "errors", "compare"],
	titles: { try: "Try", why: "Why", inside: "Inside", poke: "Poke", runs: "Runs", errors: "Errors", compare: "Compare" },
	backend: "http",
};
