# shellcheck shell=bash
# The environment of every Ray process of a cluster: sourced by the scripts of this folder, repeated by its Dockerfile.

# Refuse whoever does not know the token. Without it, `ray start` runs the code of anyone who reaches the dashboard.
export RAY_AUTH_MODE=token
# Show Ray Train's runs in the dashboard and in the state API.
export RAY_TRAIN_ENABLE_STATE_TRACKING=1
# Seconds that `ray job stop` leaves a job to publish its stage and close its ledger, before it is killed; Ray's own 3
# are too few.
export RAY_JOB_STOP_WAIT_TIME_S=60
