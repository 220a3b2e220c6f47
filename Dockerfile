# coolops as a container: the program, certificates, what CI runs, and nothing else: no shell, no root, nothing to pull.
# `./just image` makes the folder and builds it; deploy/compose.yaml runs it.
FROM scratch
COPY dist/image/ /
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    COOLOPS_LISTEN=0.0.0.0:3000 \
    COOLOPS_CLIENT_DIR=/usr/share/coolops/client
USER 65532:65532
EXPOSE 3000
ENTRYPOINT ["/coolops"]
CMD ["serve"]
