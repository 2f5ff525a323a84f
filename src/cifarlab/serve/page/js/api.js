// @ts-check
/**
 * All HTTP of the page. Every failure becomes an ApiError whose message can be shown as it is; one that was cancelled through
 * its signal stays the AbortError that fetch throws.
 *
 *   await api.json("runs/demo", { query: { since: 3 }, signal })          GET, the parsed body
 *   await api.json("predict", { method: "POST", body: blob, signal })
 *   await api.blob("images/test/7")                                       GET, a Blob
 *   await api.stream("runs/demo/events", { signal, event: (name, data) => ... })   server-sent events, data parsed as JSON;
 *                                                                          returns when the server ends them
 * Paths are relative to the page. With a token set at the server, the first refusal opens a dialog; what is entered stays in
 * sessionStorage.
 */

const TOKEN = "cifarlab.token";
const WAITS = 20; // for a model to become ready, 0.7 s each

export class ApiError extends Error {
	/** @param {string} message @param {number} status 0 where no answer came */
	constructor(message, status) {
		super(message);
		this.name = "ApiError";
		this.status = status;
	}
}

/**
 * @typedef {{ method?: string, body?: any, query?: Record<string, any>, signal?: AbortSignal }} Given
 * @param {{ askToken: (wrong: boolean) => Promise<string>, online: (answers: boolean) => void }} hooks
 */
export function createApi({ askToken, online }) {
	/** @type {Promise<string> | null} */
	let asking = null;

	/** @param {string} path @param {Given} given @param {boolean} retried @param {number} waited @returns {Promise<Response>} */
	async function ask(path, { method = "GET", body, query, signal } = {}, retried = false, waited = 0) {
		const url = new URL(path, document.baseURI);
		for (const [name, value] of Object.entries(query ?? {}))
			if (value !== null && value !== undefined) url.searchParams.set(name, String(value));
		const token = storedToken();
		/** @type {Response} */
		let response;
		try {
			response = await fetch(url, {
				method,
				body,
				signal,
				headers: token ? { Authorization: `Bearer ${token}` } : {},
				credentials: "omit",
			});
		} catch (error) {
			if (signal?.aborted) throw error;
			online(false);
			throw new ApiError("The server does not answer. Is cifarlab serve still running?", 0);
		}
		online(true);
		if (response.status === 401) {
			// Several requests may be refused at once; one dialog answers all of them.
			asking ??= askToken(token !== null && (retried || storedToken() === token)).finally(() => (asking = null));
			storeToken(await asking);
			return ask(path, { method, body, query, signal }, true);
		}
		if (waited < WAITS && (await startsSoon(response, signal))) return ask(path, { method, body, query, signal }, retried, waited + 1);
		if (!response.ok) throw new ApiError(await reason(response), response.status);
		return response;
	}

	return {
		/** @param {string} path @param {Given} [given] */
		async json(path, given) {
			const response = await ask(path, given);
			try {
				return await response.json();
			} catch (error) {
				if (given?.signal?.aborted) throw error;
				throw new ApiError("The server's answer was cut off. Try again", response.status);
			}
		},
		/** @param {string} path @param {Given} [given] */
		async blob(path, given) {
			return (await ask(path, given)).blob();
		},
		/** @param {string} path @param {Given & { event: (name: string, data: any) => void }} given */
		async stream(path, { event, ...given }) {
			const response = await ask(path, given);
			if (!response.body) return;
			try {
				await readEvents(response.body, event);
			} catch (error) {
				if (given.signal?.aborted) throw error;
				online(false);
				throw new ApiError("The connection to the server was lost", 0);
			}
		},
	};
}

/** @param {ReadableStream<Uint8Array>} body @param {(name: string, data: any) => void} event */
async function readEvents(body, event) {
	const reader = body.getReader();
	const decoder = new TextDecoder();
	let rest = "";
	for (;;) {
		const { done, value } = await reader.read();
		if (done) return;
		const blocks = (rest + decoder.decode(value, { stream: true })).split("\n\n");
		rest = blocks.pop() ?? "";
		for (const block of blocks) {
			const lines = block.split("\n");
			const data = lines
				.filter((line) => line.startsWith("data:"))
				.map((line) => line.slice(5).trimStart())
				.join("\n");
			const name =
				lines
					.find((line) => line.startsWith("event:"))
					?.slice(6)
					.trim() ?? "message";
			if (data) event(name, JSON.parse(data));
		}
	}
}

/**
 * Whether a model that is not ready yet may be by now; a server that stops asks for longer.
 * @param {Response} response
 * @param {AbortSignal} [signal]
 */
async function startsSoon(response, signal) {
	if (response.status !== 503 || response.headers.get("Retry-After") !== "1") return false;
	await new Promise((done) => setTimeout(done, 700));
	signal?.throwIfAborted();
	return true;
}

/** What the server gives as a reason, with a capital letter. @param {Response} response */
async function reason(response) {
	try {
		const { error } = await response.json();
		if (typeof error === "string" && error) return error[0].toUpperCase() + error.slice(1);
	} catch {
		// Not of this server: a proxy's page, say.
	}
	return `The server answered ${response.status} ${response.statusText}`.trim();
}

function storedToken() {
	try {
		return sessionStorage.getItem(TOKEN);
	} catch {
		return memory;
	}
}

/** @type {string | null} */
let memory = null; // where storage is forbidden

/** @param {string} token */
function storeToken(token) {
	memory = token;
	try {
		sessionStorage.setItem(TOKEN, token);
	} catch {
		// It lasts until the page is loaded anew, then.
	}
}
