/* The rules for devices, the part of config_check (config/check.h) that says who may be let in. */
#ifndef MFDRELAY_CONFIG_CHECK_DEVICE_H
#define MFDRELAY_CONFIG_CHECK_DEVICE_H

struct config;
struct source;

void check_devices(const struct config *config, const struct source *source);

#endif
