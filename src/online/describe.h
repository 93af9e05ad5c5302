/* A proved step in words and values. */
#ifndef MFDRELAY_ONLINE_DESCRIBE_H
#define MFDRELAY_ONLINE_DESCRIBE_H

struct client_view;
struct findings;
struct step;
struct upstream_config;

/* Fill status, text, advice and facts of a step that a client of upstream has just proved (step->kind says which). */
void describe_step(struct step *step, const struct client_view *view, const struct upstream_config *upstream);

/* Add a step "expiry" with the known ends of upstream's credentials, where there are any: a warning where one is near. */
void describe_expiries(struct findings *findings, const struct upstream_config *upstream);

#endif
