// Runs in the audio thread: 128 samples at a time in, 100 ms of 16-bit mono out.

class Chunks extends AudioWorkletProcessor {
  constructor() {
    super();
    this.length = Math.round(sampleRate / 10);
    this.begin();
  }

  begin() {
    this.chunk = new Int16Array(this.length);
    this.filled = 0;
    this.peak = 0;
  }

  process([channels]) {
    const samples = channels[0]?.length ?? 0; // none while nothing is connected
    for (let i = 0; i < samples; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      const value = Math.max(-1, Math.min(1, sum / channels.length));
      this.peak = Math.max(this.peak, Math.abs(value));
      this.chunk[this.filled++] = Math.round(value * 32767);
      if (this.filled === this.length) this.send();
    }
    return true;
  }

  send() {
    this.port.postMessage({ pcm: this.chunk.buffer, peak: this.peak }, [this.chunk.buffer]);
    this.begin();
  }
}

registerProcessor("chunks", Chunks);
