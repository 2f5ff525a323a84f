// @ts-check
/** The webcam: frames of it, one after another, as fast as they are worked on. */

import { h } from "../dom.js";
import { fitBitmap } from "../resize.js";

const PAUSE = 120; // ms between frames, so that a server with other clients has time for them

/**
 * webcam({ frame, ended }) -> { start(model), stop(), snapshot(), running() }. frame(video, pixels): works on the pixels that the
 * model would see, and is awaited; ended(error): the camera stopped, with an Error where it could not start.
 * @param {{ frame: (video: HTMLVideoElement, pixels: any) => Promise<void>, ended: (error: Error | null) => void }} given
 */
export function webcam({ frame, ended }) {
	const video = h("video.original", { playsinline: true, muted: true, "aria-label": "Webcam" });
	/** @type {MediaStream | null} */
	let stream = null;
	let turn = 0; // of the present recording: an older loop ends

	/** @param {() => any} model */
	async function start(model) {
		const own = ++turn;
		try {
			const opened = await ask();
			if (own !== turn) return opened.getTracks().forEach((track) => track.stop());
			stream = opened;
			opened.getVideoTracks()[0].addEventListener("ended", () => own === turn && stop());
			video.srcObject = opened;
			await video.play();
			while (own === turn) {
				const { size, resize } = model();
				const bitmap = await createImageBitmap(video);
				const pixels = fitBitmap(bitmap, { size, rule: resize });
				bitmap.close();
				await frame(video, pixels);
				await new Promise((done) => setTimeout(done, PAUSE));
			}
		} catch (error) {
			if (own === turn) stop(/** @type {Error} */ (error));
		}
	}

	/** @param {Error | null} [error] */
	function stop(error = null) {
		turn++;
		stream?.getTracks().forEach((track) => track.stop());
		stream = null;
		video.srcObject = null;
		ended(error);
	}

	/** The present frame as a picture. @returns {Promise<Blob>} */
	function snapshot() {
		const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
		canvas.getContext("2d")?.drawImage(video, 0, 0);
		return canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
	}

	return { start, stop, snapshot, running: () => stream !== null && video.videoWidth > 0 };
}

/** @returns {Promise<MediaStream>} Raises an Error in plain words. */
async function ask() {
	if (!navigator.mediaDevices) throw new Error("Browsers give the webcam to pages of this machine (localhost) or over HTTPS only");
	try {
		return await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 640 } } });
	} catch (error) {
		const reasons = {
			NotAllowedError: "The browser does not let this page use the webcam. Allow it beside the address",
			NotFoundError: "No webcam was found on this machine",
			NotReadableError: "The webcam is in use by another program",
		};
		throw new Error(
			/** @type {any} */ (reasons)[/** @type {Error} */ (error).name] ??
				`The webcam cannot be used: ${/** @type {Error} */ (error).message}`,
		);
	}
}
