// @ts-check
/** Work that is superseded: the newest wins, and nothing old is shown after it. */

/**
 * A runner that cancels what it started before: const run = latest(); await run((signal) => fetch(url, { signal })).
 * A superseded run resolves to undefined, whatever became of it. run.cancel() cancels without a successor.
 */
export function latest() {
	/** @type {AbortController | null} */
	let current = null;
	/** @template T @param {(signal: AbortSignal) => Promise<T>} work @returns {Promise<T | undefined>} */
	async function run(work) {
		current?.abort();
		const own = (current = new AbortController());
		try {
			const result = await work(own.signal);
			return own.signal.aborted ? undefined : result;
		} catch (error) {
			if (own.signal.aborted) return undefined;
			throw error;
		}
	}
	run.cancel = () => current?.abort();
	return run;
}

/**
 * For sliders: `work` runs for one value at a time; of the values that arrive meanwhile only the last is worked on next.
 * The error of `work` goes to `fail`. const set = oneAtATime(async (value) => ..., context.fail); slider.oninput = () => set(...)
 * @template V @param {(value: V) => Promise<void>} work @param {(error: unknown) => void} fail
 */
export function oneAtATime(work, fail) {
	let busy = false;
	/** @type {{ value: V } | null} */
	let next = null;
	return async (/** @type {V} */ value) => {
		next = { value };
		if (busy) return;
		busy = true;
		try {
			while (next !== null) {
				const { value: given } = /** @type {{ value: V }} */ (next);
				next = null;
				await work(given);
			}
		} catch (error) {
			fail(error);
		} finally {
			busy = false;
		}
	};
}
