# The image: compiled JavaScript, production dependencies, an unprivileged user. It runs with a read-only root file
# system; only /data is written, and with PostgreSQL not even that.
#   docker build -t gatehouse .
#   docker run -p 3000:3000 -v gatehouse:/data -e ISSUER=https://login.example.com gatehouse
#   docker run … gatehouse user list     the last two words: a command instead of the server
#   docker exec CONTAINER gatehouse user list

FROM node:26.10.0-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Scripts bring the tests' Node and PostgreSQL, which the compiler does not need.
RUN npm ci --ignore-scripts
COPY tsconfig.json ./
COPY deploy/build.ts deploy/
COPY src src
COPY plugins plugins
COPY routes routes
RUN npm run build

FROM node:26.10.0-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts

FROM node:26.10.0-slim
ENV NODE_ENV=production DATA_DIR=/data NODE_COMPILE_CACHE=/app/compile-cache
WORKDIR /app
COPY package.json ./
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
# A number, not a name: Kubernetes can then check runAsNonRoot by itself.
RUN chmod +x dist/src/main.js && ln -s /app/dist/src/main.js /usr/local/bin/gatehouse && mkdir -m 0700 /data compile-cache && chown 1000:1000 /data compile-cache
USER 1000:1000
# One start, so that V8 finds its compiled code in the image and every later start is shorter. Its secret and its key must
# not be in the image: where the folder is not empty again, the build fails.
RUN ISSUER=https://build.invalid HOST=127.0.0.1 PORT=3999 DRAIN_SECONDS=0 timeout --preserve-status 5 node dist/src/main.js && rm -r /data/* && [ -z "$(ls -A /data)" ]
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT || 3000}/livez`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# Exec form: node itself is process 1 and gets SIGTERM. Its start-up is all there is between the two.
ENTRYPOINT ["node", "/app/dist/src/main.js"]
CMD ["serve"]
