"use strict";
// Draw, drop, paste or photograph; ask; record. What the server answers was made by its templates, which escape everything.

(() => {
  const out = document.getElementById("answer");
  let asking = 0;

  async function ask(body, type) {
    const mine = ++asking;
    out.textContent = "Asking the contract…";
    let text;
    try {
      const answer = await fetch("/ask", { method: "POST", body, headers: { "content-type": type } });
      text = await answer.text();
    } catch {
      text = "";
    }
    if (mine !== asking) return; // something else was asked meanwhile
    if (!text) { out.textContent = "The server does not answer. Is it still running?"; return; }
    out.innerHTML = text;
    const button = document.getElementById("record");
    if (button) button.addEventListener("click", () => record(button));
    const wallets = out.querySelector(".wallets");
    if (wallets) offer(wallets);
  }

  async function record(button) {
    button.disabled = true;
    const bytes = Uint8Array.from(button.dataset.input.match(/../g) || [], (two) => parseInt(two, 16));
    const box = document.getElementById("recorded");
    box.textContent = "Recording…";
    try {
      const answer = await fetch("/record", { method: "POST", body: bytes, headers: { "content-type": "application/octet-stream" } });
      box.innerHTML = await answer.text();
      if (!answer.ok) button.disabled = false;
    } catch {
      box.textContent = "The server does not answer.";
      button.disabled = false;
    }
  }

  // Wallets say that they are there (EIP-6963); older ones only set window.ethereum (EIP-1193).
  function offer(box) {
    const found = new Map();
    const add = (id, name, provider) => {
      if (found.has(id)) return;
      found.set(id, provider);
      const button = document.createElement("button");
      button.type = "button";
      button.className = "quiet";
      button.textContent = `Record with ${name}`;
      button.addEventListener("click", () => send(box, provider));
      box.append(button, " ");
    };
    window.addEventListener("eip6963:announceProvider", (event) => {
      const { info, provider } = event.detail;
      add(String(info.uuid), String(info.name).slice(0, 40), provider);
    });
    window.dispatchEvent(new Event("eip6963:requestProvider"));
    setTimeout(() => {
      if (!found.size && window.ethereum) add("old", "your wallet", window.ethereum);
      if (!found.size) box.textContent = "No wallet was found in this browser.";
    }, 300);
  }

  async function send(box, provider) {
    const said = document.getElementById("recorded"), { to, call, value, chain } = box.dataset;
    try {
      const [from] = await provider.request({ method: "eth_requestAccounts" });
      if (Number(await provider.request({ method: "eth_chainId" })) !== Number(chain)) {
        await provider.request({ method: "wallet_switchEthereumChain", params: [{ chainId: chain }] });
      }
      const hash = await provider.request({ method: "eth_sendTransaction", params: [{ from, to, data: call, value }] });
      said.textContent = `Sent: transaction ${hash}. The decision appears under Decisions when it is on the chain.`;
    } catch (error) {
      said.textContent = `Not recorded: ${error && error.message ? error.message : error}`;
    }
  }

  const row = document.getElementById("row");
  if (row) {
    row.addEventListener("submit", (event) => {
      event.preventDefault();
      const cells = [...row.querySelectorAll("input, select")].map((one) => one.value.trim());
      ask(cells.join(","), "text/plain");
    });
    return;
  }

  const pad = document.getElementById("pad"), pen = pad.getContext("2d");
  let drawn = false, last = null;

  function clear() {
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, pad.width, pad.height);
    pen.strokeStyle = "#111";
    pen.lineWidth = 18;
    pen.lineCap = pen.lineJoin = "round";
    drawn = false;
  }
  const at = (event) => {
    const box = pad.getBoundingClientRect();
    return [(event.clientX - box.left) * pad.width / box.width, (event.clientY - box.top) * pad.height / box.height];
  };
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    last = at(event);
    line(last);
    event.preventDefault();
  });
  pad.addEventListener("pointermove", (event) => { if (last) for (const one of event.getCoalescedEvents?.() ?? [event]) line(at(one)); });
  for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => { last = null; });

  function line(to) {
    pen.beginPath();
    pen.moveTo(...last);
    pen.lineTo(...to);
    pen.stroke();
    last = to;
    drawn = true;
  }
  clear();

  document.getElementById("clear").addEventListener("click", () => { clear(); out.textContent = ""; });
  document.getElementById("send").addEventListener("click", () => {
    if (!drawn) { out.textContent = "Draw something first, or choose a picture."; return; }
    pad.toBlob((blob) => ask(blob, "image/png"), "image/png");
  });

  const MOST = 12 * 2 ** 20;
  async function take(file) {
    if (!file) { out.textContent = "That was no picture file. A picture of another page: copy it there and paste it here, or save it first."; return; }
    if (file.size > MOST) { out.textContent = "That picture is too large: send 12 megabytes at most."; return; }
    ask(file, file.type || "application/octet-stream");
    try { // show it in the field, too; the server reads the file itself
      const picture = await createImageBitmap(file);
      clear();
      const scale = Math.min(pad.width / picture.width, pad.height / picture.height);
      const [w, h] = [picture.width * scale, picture.height * scale];
      pen.imageSmoothingEnabled = picture.width > pad.width;
      pen.drawImage(picture, (pad.width - w) / 2, (pad.height - h) / 2, w, h);
      drawn = true;
    } catch { /* the server says what is wrong with it */ }
  }
  for (const name of ["file", "camera"]) {
    const field = document.getElementById(name);
    field.addEventListener("change", () => { if (field.files[0]) take(field.files[0]); field.value = ""; });
  }
  document.addEventListener("paste", (event) => {
    const item = [...event.clipboardData.items].find((one) => one.kind === "file");
    take(item && item.getAsFile());
  });
  document.addEventListener("dragover", (event) => { event.preventDefault(); pad.classList.add("over"); });
  document.addEventListener("dragleave", () => pad.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    pad.classList.remove("over");
    take(event.dataTransfer.files[0]);
  });
  for (const button of document.querySelectorAll(".try")) {
    button.addEventListener("click", async () => {
      let picture;
      try {
        picture = await (await fetch(button.dataset.picture)).blob();
      } catch {
        out.textContent = "The server does not answer. Is it still running?";
        return;
      }
      take(picture);
    });
  }
})();
