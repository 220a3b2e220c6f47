// Times in the reader's zone, which they name; what was sent stays as a hint.
for (const time of document.querySelectorAll("time[datetime]")) {
  time.title ||= time.textContent;
  time.textContent = new Date(time.dateTime).toLocaleString([], { dateStyle: "medium", timeStyle: "long" });
}
