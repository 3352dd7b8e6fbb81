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
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY plugins plugins
COPY routes routes
RUN npm run build

FROM node:26.10.0-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts

FROM node:26.10.0-slim
ENV NODE_ENV=production DATA_DIR=/data
WORKDIR /app
COPY package.json ./
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
# A number, not a name: Kubernetes can then check runAsNonRoot by itself.
RUN chmod +x dist/src/main.js && ln -s /app/dist/src/main.js /usr/local/bin/gatehouse && mkdir -m 0700 /data && chown 1000:1000 /data
USER 1000:1000
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT || 3000}/livez`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# Exec form: node itself is process 1 and gets SIGTERM. Its start-up is all there is between the two.
ENTRYPOINT ["node", "/app/dist/src/main.js"]
CMD ["serve"]
